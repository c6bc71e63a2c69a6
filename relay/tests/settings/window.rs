//! How much of the past is kept, and how events are numbered.

use std::fs;

use relay::clock::Clock;
use relay_simnet::{Account, Consumer, Net, Start};

use crate::{
    process::{Process, Program, until},
    relay::Relay,
};

const HOUR_US: u64 = 3_600_000_000;

/// Setting `replay_window`, OUT-2: what is older goes, what is younger stays.
#[tokio::test]
async fn events_older_than_the_window_go() {
    let clock = Clock::manual(Clock::system().now_us());
    let relay = Relay::start_at(clock.clone(), &[("RELAY_REPLAY_WINDOW", "3h")]).await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let first = relay.running.log.window();
    clock.advance_us(2 * HOUR_US);
    alice.post("two hours later").await.unwrap();
    relay.settled().await;
    let later = relay.running.log.window();
    assert_eq!((first.oldest, later.oldest), (first.oldest, first.oldest), "both are kept");
    relay.running.checkpoint().await.unwrap();

    clock.advance_us(2 * HOUR_US);

    relay
        .until("the first events are gone", || relay.running.log.window().oldest > first.head)
        .await;
    assert_eq!(relay.running.log.window().oldest, later.head, "the later one is kept");
    let url = format!("http://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    let seen = consumer.next().await.unwrap();
    assert_eq!(u64::try_from(seen.seq).unwrap(), later.head.0);
    relay.stop().await;
}

/// Posts about `kilobytes` KB in pieces, with a checkpoint now and then: retention never passes one.
async fn fill(relay: &Relay, account: &Account, kilobytes: usize) {
    for piece in 0..kilobytes.div_ceil(200) {
        for _ in 0..4 {
            account.post(&format!("{piece} {}", "x".repeat(50_000))).await.unwrap();
        }
        relay.settled().await;
        relay.running.checkpoint().await.unwrap();
    }
}

fn segments(relay: &Relay) -> usize {
    let files = fs::read_dir(relay.data().join("persist")).unwrap().flatten();
    files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log")).count()
}

/// Setting `replay_max_bytes`, OUT-2: the oldest events go before the log is larger.
#[tokio::test]
async fn the_log_stays_below_its_size() {
    let segment = ("RELAY_SEGMENT_BYTES", "64KiB");
    let small = Relay::start_with(&[("RELAY_REPLAY_MAX_BYTES", "1MiB"), segment]).await;
    let roomy = Relay::start_with(&[("RELAY_REPLAY_MAX_BYTES", "100MiB"), segment]).await;
    for relay in [&small, &roomy] {
        let pds = relay.host("alpha").await;
        let alice = relay.account(&pds, "alice").await;
        fill(relay, &alice, 2_500).await;
    }

    small.until("it fits again", || small.running.log.disk_bytes() <= 1 << 20).await;

    let window = small.running.log.window();
    assert!(window.oldest.0 > 10, "{window:?}");
    assert!(window.head > window.oldest, "the newest are kept: {window:?}");
    assert_eq!(roomy.running.log.window().oldest.0, 1, "control: with room nothing goes");
    assert!(roomy.running.log.disk_bytes() > 2 << 20);
    small.stop().await;
    roomy.stop().await;
}

/// Setting `segment_bytes`: the same events in many files or in one.
#[tokio::test]
async fn the_log_is_cut_into_files_of_a_size() {
    let mut counts = Vec::new();
    for size in ["64KiB", "512KiB", "256MiB"] {
        let relay = Relay::start_with(&[("RELAY_SEGMENT_BYTES", size)]).await;
        let pds = relay.host("alpha").await;
        let alice = relay.account(&pds, "alice").await;
        fill(&relay, &alice, 1_200).await;
        counts.push(segments(&relay));
        relay.stop().await;
    }
    // What is synced together stays together, so the files are of about that size.
    assert!(counts[0] > counts[1] && counts[1] > counts[2], "{counts:?}");
    assert_eq!(counts[2], 1);
}

/// Which of the files of the log are compressed, oldest first.
fn compressed(relay: &Relay) -> Vec<bool> {
    let files = fs::read_dir(relay.data().join("persist")).unwrap().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "log"));
    paths.sort();
    // The byte behind the format version.
    paths.iter().map(|path| fs::read(path).unwrap()[10] == 1).collect()
}

/// Setting `log_compression`: all but the last two files are compressed, or none; consumers see no
/// difference.
#[tokio::test]
async fn old_files_of_the_log_are_made_smaller_unless_told() {
    let mut relays = Vec::new();
    for how in ["off", "fast", "small"] {
        let segment = ("RELAY_SEGMENT_BYTES", "64KiB");
        let relay = Relay::start_with(&[("RELAY_LOG_COMPRESSION", how), segment]).await;
        let pds = relay.host("alpha").await;
        let alice = relay.account(&pds, "alice").await;
        fill(&relay, &alice, 800).await;
        relays.push(relay);
    }
    for relay in &relays[1..] {
        let is_done = || {
            let compressed = compressed(relay);
            compressed.len() > 4 && compressed.iter().rev().skip(2).all(|compressed| *compressed)
        };
        relay.until("old files are compressed", is_done).await;
        assert_eq!(compressed(relay).iter().rev().take(2).copied().collect::<Vec<_>>(), [false; 2]);
        let head = relay.running.log.window().head.0;
        let mut consumer =
            Consumer::connect(&format!("http://{}", relay.api()), Start::After(0)).await.unwrap();
        let seen = consumer.take(usize::try_from(head).unwrap()).await.unwrap();
        assert!(seen.iter().map(|event| event.seq).eq(1..=i64::try_from(head).unwrap()));
    }
    assert!(compressed(&relays[0]).iter().all(|compressed| !compressed), "told to be left alone");
    for relay in relays {
        relay.stop().await;
    }
}

/// The seqs of `count` events after a seq.
async fn seqs(relay: &Process, after: u64, count: usize) -> Vec<i64> {
    let url = format!("http://{}", relay.at().api);
    let mut consumer = Consumer::connect(&url, Start::After(after)).await.unwrap();
    consumer.take(count).await.unwrap().iter().map(|event| event.seq).collect()
}

/// Setting `initial_seq`, CUR-9: the next number is at least that, and none is given twice.
#[tokio::test]
async fn numbers_start_where_they_are_told_and_never_go_back() {
    // The #identity, #account and first #commit; the #sync after them says nothing new.
    const EVENTS: i64 = 3;
    let net = Net::seeded(1).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let alice = pds.account("alice").await.unwrap();
    let program = Program::beside(&net).argument(&format!("--crawl={}", pds.hostname()));
    let mut head = 5_000_000 - 1 + EVENTS;

    let relay = program.clone().set("RELAY_INITIAL_SEQ_NUMBER", "5000000").start().await;
    assert_eq!(seqs(&relay, 0, 3).await, (5_000_000..=head).collect::<Vec<_>>());
    relay.stop().await;

    // A lower one changes nothing, a higher one is obeyed.
    for (floor, expected) in [("1", head + 1), ("6000000", 6_000_000)] {
        let relay = program.clone().set("RELAY_INITIAL_SEQ_NUMBER", floor).start().await;
        pds.connected().await.unwrap();
        alice.post("one more").await.unwrap();
        let after = u64::try_from(head).unwrap();
        until("the post came out", async || {
            let window = relay.admin("/admin/v1/status").await.json()["window"]["head"].as_i64();
            window >= Some(expected)
        })
        .await;
        assert_eq!(seqs(&relay, after, 1).await, [expected], "floor {floor}");
        head = expected;
        relay.stop().await;
    }
}
