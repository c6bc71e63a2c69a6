//! The role `storage` where several disks have one place: a mirror, or a sentence.
//!
//! The kernel of a machine that runs these tests may have no RAID. So here is what is refused; mirrors
//! that are made, lose a disk and get a new one need a kernel of their own.

use std::os::unix::fs::symlink;

use anyhow::Result;

use crate::{
    disks::{Disk, member_of, run},
    storage::Bench,
};

/// The sentences with which pairs are refused, by host.
const REFUSED: [(&str, &str); 6] = [
    ("half", "already holds something: ext4"),
    ("gone", "A mirror is made of all its disks or not at all"),
    ("twice", "are the same disk under two names, which mirrors nothing"),
    ("others", "already holds something: linux_raid_member of relay-other"),
    ("strange", "are of different mirrors: "),
    ("short", "0.5 GB where 1 GB are expected"),
];

/// Two disks of 1 GB for one place.
fn pair(bench: &mut Bench, host: &str) -> Result<[usize; 2]> {
    let one = bench.host(host)?;
    let two = bench.host(&format!("{host}-2"))?;
    bench.forget(&format!("{host}-2"));
    let both = [one, two].map(|disk| bench.wanted(&bench.disks[disk].by_id, host));
    bench.add(host, &both);
    Ok([one, two])
}

fn refused(bench: &mut Bench) -> Result<()> {
    let [_, two] = pair(bench, "half")?;
    run(&["mkfs.ext4", "-q", &bench.disks[two].device])?;
    let [one, _] = pair(bench, "gone")?;
    let nowhere = bench.dir.path().join("scsi-0TEST_nowhere");
    let wanted = [&bench.disks[one].by_id, &nowhere].map(|by_id| bench.wanted(by_id, "gone"));
    bench.add("gone", &wanted);
    let [one, _] = pair(bench, "twice")?;
    let other_name = bench.dir.path().join("wwn-0xTEST");
    symlink(&bench.disks[one].device, &other_name)?;
    let wanted = [&bench.disks[one].by_id, &other_name].map(|by_id| bench.wanted(by_id, "twice"));
    bench.add("twice", &wanted);
    let [one, two] = pair(bench, "others")?;
    for disk in [one, two] {
        member_of(&bench.disks[disk], b"0123456789abcdef", "relay-other")?;
    }
    let [one, two] = pair(bench, "strange")?;
    member_of(&bench.disks[one], b"0123456789abcdef", "relay-strang")?;
    member_of(&bench.disks[two], b"fedcba9876543210", "elsewhere:relay-strang")?;
    let [one, _] = pair(bench, "short")?;
    let small = Disk::blank(bench.dir.path(), "short-3", 500_000_000)?;
    let wanted = [&bench.disks[one].by_id, &small.by_id].map(|by_id| bench.wanted(by_id, "short"));
    bench.add("short", &wanted);
    bench.disks.push(small);
    Ok(())
}

/// Two disks of which one is not what was meant would become a mirror of nothing, and what was on it
/// would be gone: both are left as they are, to the byte.
#[test]
#[ignore = "needs root, loop devices and Ansible: just stage build,deploy"]
fn disks_that_are_no_pair_are_left_as_they_are() -> Result<()> {
    let mut bench = Bench::new()?;
    refused(&mut bench)?;
    let before = bench.disks.iter().map(Disk::state).collect::<Result<Vec<_>>>()?;

    let played = bench.play(&[])?;

    for (host, sentence) in REFUSED {
        let (said, (_, failures)) = (played.failure(host), played.counts(host));
        assert!(failures == 1 && said.contains(sentence), "{host}: {said:?} {played:?}");
    }
    let after = bench.disks.iter().map(Disk::state).collect::<Result<Vec<_>>>()?;
    assert_eq!(before, after, "a disk was written to");
    assert_eq!(bench.fstab()?, "");
    Ok(())
}
