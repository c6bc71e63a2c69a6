//! Hosts with a real store and simulated hosts: credit, marks, what survives a restart, admission.

use anyhow::{Context, Result};
use futures_util::FutureExt;
use tempfile::TempDir;

use super::*;
use crate::net::NetOptions;

mod commands;
mod quota;

/// A store in a directory, and the hosts read from it.
struct Scene {
    dir: TempDir,
    store: Store,
    hosts: Hosts,
    clock: Clock,
}

impl Scene {
    async fn new() -> Result<Self> {
        Self::with(true, false).await
    }

    async fn with(dev: bool, lenient: bool) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let url = format!("sqlite://{}", dir.path().join("relay.sqlite").display());
        let store = Store::open(&url, 2).await?;
        let clock = Clock::manual(1_000_000_000);
        let hosts = Self::load(&store, &clock, dev, lenient).await?;
        Ok(Self { dir, store, hosts, clock })
    }

    async fn load(store: &Store, clock: &Clock, dev: bool, lenient: bool) -> Result<Hosts> {
        let user_agent = "test".to_owned();
        let net = Net::new(NetOptions { allow_insecure: dev, user_agent, ..<_>::default() })?;
        let leniency = Leniency { everywhere: lenient, ..Leniency::default() };
        let options = HostOptions { dev, leniency, ..HostOptions::default() };
        Ok(Hosts::load(store.clone(), net, clock.clone(), options).await?)
    }

    /// The same store after a restart.
    async fn restart(&mut self) -> Result<()> {
        self.hosts = Self::load(&self.store, &self.clock, true, false).await?;
        Ok(())
    }

    async fn host(&self, name: &str) -> Result<Arc<Host>> {
        Ok(self.hosts.admit(name, true).await?)
    }

    /// Receives at once, or not at all.
    fn try_receive(host: &Host, seq: u64, bytes: usize) -> bool {
        host.receive(HostSeq(seq), bytes).now_or_never().is_some()
    }
}

fn mark(host: &Host) -> Option<u64> {
    host.mark().map(|(_, mark)| mark.0)
}

/// DESIGN 10.7: the 4,097th unsettled event waits, and goes on as soon as any event is settled.
#[tokio::test]
async fn a_host_with_too_many_unsettled_events_is_not_read() -> Result<()> {
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    for seq in 1..=4_096 {
        assert!(Scene::try_receive(&host, seq, 10), "{seq}");
    }
    assert!(!Scene::try_receive(&host, 4_097, 10));

    let waiting = host.receive(HostSeq(4_097), 10);
    let settling = async { host.settle(host.epoch(), HostSeq(2_000)) };
    tokio::join!(waiting, settling);

    assert_eq!(host.unsettled(), (4_096, 40_960));
    assert_eq!(mark(&host), Some(0), "the first event is not settled");
    Ok(())
}

/// DESIGN 10.7: 16 MiB of one host, 256 MiB of all.
#[tokio::test]
async fn hosts_with_too_many_unsettled_bytes_are_not_read() -> Result<()> {
    const MIB: usize = 1 << 20;
    let scene = Scene::new().await?;
    let mut hosts = Vec::new();
    for n in 0..17 {
        hosts.push(scene.host(&format!("pds{n}.example.com")).await?);
    }
    for host in &hosts[..16] {
        for seq in 1..=4 {
            assert!(Scene::try_receive(host, seq, 4 * MIB));
        }
        assert!(!Scene::try_receive(host, 5, 1), "16 MiB of one host");
    }
    let last = &hosts[16];
    assert!(Scene::try_receive(last, 1, 4 * MIB), "who has nothing unsettled is never shut out");
    assert!(!Scene::try_receive(last, 2, 1), "256 MiB of all");

    last.settle(last.epoch(), HostSeq(1));
    assert!(Scene::try_receive(last, 2, 1), "nothing of it is unsettled again");
    assert!(!Scene::try_receive(last, 3, 1));
    hosts[0].settle(hosts[0].epoch(), HostSeq(1));
    assert!(Scene::try_receive(last, 3, 1), "another host gave credit back");
    Ok(())
}

/// DESIGN 10.7, SEC-5: while others hold all credit, a small host goes on event by event.
#[tokio::test]
async fn a_waiting_host_goes_on_when_its_own_event_is_settled() -> Result<()> {
    let scene = Scene::new().await?;
    let small = scene.host("small.example.com").await?;
    for n in 0..16 {
        let greedy = scene.host(&format!("greedy{n}.example.com")).await?;
        assert!(Scene::try_receive(&greedy, 1, 16 << 20));
    }
    small.receive(HostSeq(1), 100).await;
    tokio::join!(small.receive(HostSeq(2), 100), async {
        small.settle(small.epoch(), HostSeq(1));
    });
    assert_eq!((small.unsettled(), mark(&small)), ((1, 100), Some(1)));
    Ok(())
}

/// UP-6, DESIGN 10.3: a reset begins a new epoch, gives all credit back, and old events no longer
/// move the mark.
#[tokio::test]
async fn a_reset_cursor_begins_a_new_epoch() -> Result<()> {
    let mut scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    for seq in 500..4_596 {
        assert!(Scene::try_receive(&host, seq, 10));
    }
    let old = host.epoch();
    host.settle(old, HostSeq(500));
    scene.store.save_cursors(&scene.hosts.take_moved_marks()).await?;

    let new = scene.hosts.reset_cursor(&host).await?;

    assert_eq!((new, host.resume_from()), (Epoch(old.0 + 1), (new, None)));
    assert_eq!(host.unsettled(), (0, 0));
    host.settle(old, HostSeq(501));
    assert_eq!(mark(&host), None);
    assert!(Scene::try_receive(&host, 1, 10));
    host.settle(new, HostSeq(1));
    assert_eq!(scene.hosts.take_moved_marks(), [(host.id(), new, HostSeq(1))]);
    // A row that was written later must not bring the old epoch back.
    host.failed("something", 1);
    scene.hosts.flush().await?;
    scene.restart().await?;
    let host = scene.hosts.by_name("pds.example.com").context("host")?;
    assert_eq!(host.resume_from(), (new, None));
    assert_eq!(host.cursor_reset_ms(), scene.clock.now_ms());
    Ok(())
}

/// UP-9: only moved marks are written, and a mark that could not be written comes again.
#[tokio::test]
async fn marks_are_taken_when_they_moved() -> Result<()> {
    let mut scene = Scene::new().await?;
    let (moved, still) = (scene.host("a.example.com").await?, scene.host("b.example.com").await?);
    for host in [&moved, &still] {
        host.receive(HostSeq(7), 1).await;
        host.receive(HostSeq(9), 1).await;
    }
    assert_eq!(scene.hosts.take_moved_marks().len(), 2, "both know that nothing is below 7");
    assert!(scene.hosts.take_moved_marks().is_empty());

    moved.settle(moved.epoch(), HostSeq(7));
    let marks = scene.hosts.take_moved_marks();
    assert_eq!(marks, [(moved.id(), Epoch(0), HostSeq(8))]);
    assert!(scene.hosts.take_moved_marks().is_empty());
    scene.hosts.return_marks(&marks);
    assert_eq!(scene.hosts.take_moved_marks(), marks);

    scene.store.save_cursors(&marks).await?;
    scene.restart().await?;
    let resumed = |name| scene.hosts.by_name(name).and_then(|host| host.resume_from().1);
    assert_eq!(resumed("a.example.com"), Some(HostSeq(8)));
    assert!(scene.hosts.take_moved_marks().is_empty(), "the store knows it already");
    Ok(())
}

/// HOST-1, HOST-11, UP-10: what a restart keeps of a host.
#[tokio::test]
async fn status_and_last_error_survive_a_restart() -> Result<()> {
    let mut scene = Scene::new().await?;
    let (a, b) = (scene.host("a.example.com").await?, scene.host("b.example.com").await?);
    a.connected(1);
    b.failed("cannot\nconnect", 2);
    b.waiting(5, 15, true);
    scene.hosts.flush().await?;

    scene.restart().await?;

    let (a, b) = (scene.hosts.view("a.example.com"), scene.hosts.view("b.example.com"));
    let (a, b) = (a.context("a")?, b.context("b")?);
    assert_eq!((a.status, a.ever_connected, a.last_error), (HostStatus::Active, true, None));
    assert_eq!((b.status, b.ever_connected), (HostStatus::Offline, false));
    assert_eq!(b.last_error.as_deref(), Some("cannot\\nconnect"));
    assert_eq!(b.doing, "waiting for its first try");
    Ok(())
}

/// VAL-21, DESIGN 10.14: leniency ends for a host that has proved 1,000 commits in a row.
#[tokio::test]
async fn a_host_ratchets_after_a_thousand_inductive_commits() -> Result<()> {
    let mut scene = Scene::with(true, true).await?;
    let host = scene.host("pds.example.com").await?;
    assert!(!host.is_strict());
    for _ in 0..999 {
        assert!(!host.note_commit(true));
    }
    assert!(!host.note_commit(false), "one that does not prove begins the count anew");
    for _ in 0..999 {
        assert!(!host.note_commit(true));
    }
    assert!(!host.is_strict());
    assert!(host.note_commit(true) && host.is_strict());
    assert!(host.note_commit(false) && host.is_strict(), "for good");

    scene.hosts.flush().await?;
    scene.hosts = Scene::load(&scene.store, &scene.clock, true, true).await?;
    let host = scene.hosts.by_name("pds.example.com").context("host")?;
    assert!(host.is_strict(), "also after a restart");
    assert!(!scene.host("other.example.com").await?.is_strict());
    scene.restart().await?;
    let other = scene.hosts.by_name("other.example.com").context("other")?;
    assert!(other.is_strict(), "without leniency every host is strict");
    Ok(())
}

/// VAL-21, DESIGN 10.14: leniency is for hosts of the time before; a new one is strict at once.
#[tokio::test]
async fn a_host_first_seen_after_the_set_date_is_strict_at_once() -> Result<()> {
    let scene = Scene::with(true, true).await?;
    let before_us = leniency::STRICT_SINCE_MS * 1000 - 1000 - scene.clock.now_us();
    scene.clock.advance_us(before_us);
    let old = scene.host("old.example.com").await?;
    scene.clock.advance_us(1000);
    let new = scene.host("new.example.com").await?;
    assert_eq!((old.is_strict(), new.is_strict()), (false, true));
    assert!(new.note_commit(false) && new.is_strict(), "for good");
    Ok(())
}

/// HOST-2, SYN-10, T21: names that are no hosts are refused with the rule they break.
#[tokio::test]
async fn names_that_are_no_hosts_are_refused() -> Result<()> {
    let strict = Scene::with(false, false).await?;
    let long = "a".repeat(600);
    let bad = [
        "",
        "pds",
        "127.0.0.1",
        "https://10.0.0.1",
        "pds.example.com:8443",
        "ftp://example.com",
        "user@pds.example.com",
        "http://pds.example.com",
        "localhost:2583",
        "[::1]",
        &long,
        "pds.internal",
        "exa mple.com",
    ];
    for name in bad {
        for admin in [false, true] {
            let refusal = strict.hosts.admit(name, admin).await.unwrap_err();
            assert!(matches!(refusal, Refusal::BadHostname(_)), "{name}: {refusal}");
            assert_eq!((refusal.name(), refusal.http_status()), ("InvalidRequest", 400));
        }
    }
    let local = strict.hosts.admit("localhost:2583", true).await.unwrap_err();
    assert!(local.to_string().contains("--dev"), "{local}");
    let good = strict.hosts.admit(" https://PDS.Example.com/xrpc/x?y ", true).await?;
    assert_eq!(good.hostname().as_str(), "pds.example.com");
    assert!(Scene::new().await?.hosts.admit("localhost:2583", true).await.is_ok());
    Ok(())
}

/// HOST-3, HOST-4, SEC-3: an unknown host is asked once, and its answer is remembered.
#[tokio::test]
async fn an_unknown_host_is_asked_to_describe_itself() -> Result<()> {
    let scene = Scene::new().await?;
    let simnet = relay_simnet::Net::seeded(4).await?;
    let (good, broken) = (simnet.pds("good").await?, simnet.pds("broken").await?);
    broken.answer_path("describeServer", Some(503));

    let admitted = scene.hosts.admit(&good.hostname(), false).await?;
    let refused = scene.hosts.admit(&broken.hostname(), false).await.unwrap_err();
    broken.answer_path("describeServer", None);
    let again = scene.hosts.admit(&broken.hostname(), false).await.unwrap_err();

    assert_eq!(admitted.hostname().as_str(), good.hostname());
    assert!(matches!(&refused, Refusal::Unreachable(why) if why.contains("it answered 503")));
    assert!(matches!(&again, Refusal::Unreachable(why) if why.contains("next check in ")));
    assert_eq!((refused.name(), refused.http_status()), ("HostNotFound", 400));
    assert_eq!(broken.requests("describeServer"), 1);
    assert!(scene.hosts.by_name(&broken.hostname()).is_none());
    scene.hosts.admit(&good.hostname(), false).await?;
    assert_eq!(good.requests("describeServer"), 1, "a known host is not asked again");
    assert!(
        scene.hosts.admit(&broken.hostname(), true).await.is_ok(),
        "the operator's word counts"
    );
    Ok(())
}

/// HOST-3: a host that does not answer, or with something else than JSON.
#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() -> Result<()> {
    let scene = Scene::new().await?;
    let simnet = relay_simnet::Net::seeded(4).await?;
    let gone = simnet.pds("gone").await?;
    gone.down();
    let refusal = scene.hosts.admit(&gone.hostname(), false).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unreachable(_)), "{refusal}");
    Ok(())
}

/// UP-11, T21: a relay is not subscribed to, whatever its name.
#[tokio::test]
async fn a_relay_is_refused_as_a_host() -> Result<()> {
    let scene = Scene::new().await?;
    let simnet = relay_simnet::Net::seeded(4).await?;
    let (relay, pds) = (simnet.pds("relay").await?, simnet.pds("pds").await?);
    relay.set_server_header("Other/2.1 (ATProto-Relay)");
    relay.answer_path("describeServer", Some(501));
    pds.set_server_header("nginx");

    assert_eq!(scene.hosts.admit(&relay.hostname(), false).await.unwrap_err(), Refusal::IsRelay);
    assert!(scene.hosts.admit(&pds.hostname(), false).await.is_ok());
    Ok(())
}

/// HOST-3: a banned host stays out, for the operator's list too.
#[tokio::test]
async fn a_banned_host_is_refused() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.host("bad.example.com").await?;
    let mut rows = scene.store.hosts().await?;
    for row in &mut rows {
        row.status = HostStatus::Banned;
    }
    scene.store.save_hosts(&rows).await?;
    scene.restart().await?;

    for admin in [false, true] {
        let refusal = scene.hosts.admit("bad.example.com", admin).await.unwrap_err();
        assert_eq!((refusal.name(), refusal), ("HostBanned", Refusal::Banned));
    }
    let many = ["bad.example.com".to_owned(), "good.example.com".to_owned()];
    let answers = scene.hosts.add_many(&many).await;
    assert!(matches!(&answers[..], [Err(Refusal::Banned), Ok(_)]));
    Ok(())
}

/// HOST-4: a request for a known host that is not connected wakes it, once a minute; an operator's
/// request always.
#[tokio::test]
async fn a_sleeping_host_is_woken_once_a_minute() -> Result<()> {
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    let mut wake_ups = scene.hosts.wake_ups();

    for _ in 0..3 {
        scene.hosts.admit("pds.example.com", false).await?;
    }
    assert_eq!(wake_ups.try_recv(), Ok(host.id()));
    assert!(wake_ups.try_recv().is_err());
    scene.hosts.admit("pds.example.com", true).await?;
    assert_eq!(wake_ups.try_recv(), Ok(host.id()));
    host.connected(1);
    scene.hosts.admit("pds.example.com", true).await?;
    assert!(wake_ups.try_recv().is_err(), "a connected host needs no waking");
    Ok(())
}

/// HOST-13: a list of hosts is added in one go; each name gets its own answer, in order.
#[tokio::test]
async fn many_hosts_are_added_with_an_answer_each() -> Result<()> {
    let scene = Scene::new().await?;
    let known = scene.host("b.example.com").await?;
    let mut wake_ups = scene.hosts.wake_ups();
    let names = ["c.example.com", "10.0.0.1", "b.example.com", "a.example.com", "C.example.com"];
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();

    let answers = scene.hosts.add_many(&names).await;

    let ids: Vec<Option<HostId>> =
        answers.iter().map(|answer| answer.as_ref().ok().map(|host| host.id())).collect();
    assert_eq!(ids[2], Some(known.id()));
    assert!(ids[0] == ids[4] && ids[0].is_some() && ids[1].is_none() && ids[3].is_some());
    assert_eq!(scene.hosts.all().len(), 3);
    assert!(ids[0] < ids[3], "the order given is the order of the lists");
    let woken = [wake_ups.try_recv()?, wake_ups.try_recv()?, wake_ups.try_recv()?].map(Some);
    assert_eq!(woken, [ids[2], ids[0], ids[3]], "the sleeping one first");
    assert!(wake_ups.try_recv().is_err());
    Ok(())
}

/// T23: a walk through the list sees every host once, also when hosts are added meanwhile.
#[tokio::test]
async fn a_walk_through_the_list_is_complete() -> Result<()> {
    let scene = Scene::new().await?;
    for n in 0..5 {
        scene.host(&format!("pds{n}.example.com")).await?;
    }
    let (mut after, mut seen) = (HostId(0), Vec::new());
    loop {
        let page = scene.hosts.list(after, 2);
        let Some(last) = page.last() else { break };
        after = last.id;
        seen.extend(page.iter().map(|view| view.hostname.clone()));
        if seen.len() == 2 {
            scene.host("late.example.com").await?;
        }
    }
    assert_eq!(seen.len(), 6);
    assert_eq!(seen.last().map(String::as_str), Some("late.example.com"));
    assert!(
        seen.iter().take(5).enumerate().all(|(n, name)| *name == format!("pds{n}.example.com"))
    );
    Ok(())
}

/// I2: what the store holds of a host that it cannot read is told, not skipped.
#[tokio::test]
async fn a_damaged_row_stops_the_start() -> Result<()> {
    let scene = Scene::new().await?;
    scene.store.add_hosts(&[("not a host".to_owned(), true)], 1).await?;
    let user_agent = "test".to_owned();
    let net = Net::new(NetOptions { allow_insecure: true, user_agent, ..<_>::default() })?;
    let options = HostOptions { dev: true, ..HostOptions::default() };
    let loaded = Hosts::load(scene.store.clone(), net, scene.clock.clone(), options).await;
    assert!(matches!(loaded, Err(StoreError::Damaged(why)) if why.contains("not a host")));
    assert!(scene.dir.path().exists());
    Ok(())
}
