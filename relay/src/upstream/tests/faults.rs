//! Hosts that break the rules of the stream.

use anyhow::{Context, Result};
use relay_simnet::{
    RawFrame,
    wire::{error_frame, info_frame},
};

use super::{
    Scene, quick,
    stand_ins::{CLOSE, HandMade, scripted_host},
};
use crate::{
    domain::{Epoch, HostSeq, HostStatus},
    hosts::HostView,
};

/// UP-3, ENC-9, T3: frames that break the stream cost the connection, others only themselves; what
/// follows is read in both cases.
#[tokio::test]
async fn bad_frames_cost_the_connection_and_unknown_ones_nothing() -> Result<()> {
    for raw in RawFrame::ALL {
        let mut scene = Scene::new(quick()).await?;
        scene.subscribe().await?;
        scene.pds.connected().await?;
        scene.pds.send_raw(*raw);
        scene.pds.account("alice").await?;
        let arrivals = scene.take(1).await.with_context(|| format!("{raw:?}"))?;
        let lost = u64::from(raw.breaks_connection());
        assert_eq!(scene.dropped_in_all(), lost, "{raw:?}");
        assert_eq!(scene.pds.cursors().len() as u64, 1 + lost, "{raw:?}");
        assert_eq!(scene.view()?.last_error.is_some(), raw.breaks_connection(), "{raw:?}");
        assert!(!arrivals.is_empty());
    }
    Ok(())
}

/// ENC-9, UP-10: a frame that comes again with every connection is met ever more slowly.
#[tokio::test]
async fn a_poisoned_stream_is_not_a_tight_loop() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    scene.pds.send_raw_for_ever(RawFrame::Garbage);
    let start = tokio::time::Instant::now();
    scene.subscribe().await?;
    scene.pds.asked(6).await?;
    // At least 10 + 20 + 40 + 80 + 160 ms with the shortest jitter.
    assert!(start.elapsed().as_millis() >= 310);
    assert!(scene.dropped("malformed") >= 5);
    Ok(())
}

/// UP-4: a host that has deleted what we asked for is marked, and read on.
#[tokio::test]
async fn an_outdated_cursor_marks_a_gap() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let alice = scene.pds.account("alice").await?;
    let head = scene.pds.head();
    scene.subscribe().await?;
    scene.take(head).await?;
    assert_eq!(scene.view()?.gap_ms, None, "a new host has no past that was missed");

    scene.pds.down();
    alice.post("lost").await?;
    scene.pds.forget_events();
    scene.pds.up().await?;
    alice.post("kept").await?;

    assert_eq!(scene.take(1).await?[0].host_seq, HostSeq(head + 2));
    assert_eq!(scene.view()?.gap_ms, Some(scene.clock.now_ms()));
    Ok(())
}

/// UP-5: a host that calls us too slow is asked again from the last event on.
#[tokio::test]
async fn a_stream_that_was_too_slow_goes_on_where_it_was() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let alice = scene.pds.account("alice").await?;
    let head = scene.pds.head();
    scene.subscribe().await?;
    scene.take(head).await?;

    scene.pds.send_consumer_too_slow();
    scene.pds.asked(2).await?;
    alice.post("next").await?;

    assert_eq!(scene.take(1).await?[0].host_seq, HostSeq(head + 1));
    assert_eq!(scene.pds.cursors(), ["0".to_owned(), head.to_string()]);
    let error = scene.view()?.last_error.context("no error was noted")?;
    assert!(error.contains("ConsumerTooSlow"), "{error}");
    Ok(())
}

/// UP-6, T20: a host that lost its sequence is confirmed without cursor, then read anew in a new
/// epoch; a second time within a day it is left to a person.
#[tokio::test]
async fn a_lost_sequence_is_confirmed_and_read_anew_once_a_day() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let alice = scene.pds.account("alice").await?;
    for n in 0..5 {
        alice.post(&format!("post {n}")).await?;
    }
    let head = scene.pds.head();
    scene.subscribe().await?;
    assert!(scene.take(head).await?.iter().all(|arrival| arrival.epoch == Epoch(0)));

    scene.pds.reset_sequence();
    scene.view_when(|view| view.doing.contains("without cursor")).await?;
    alice.post("in the new sequence").await?;
    alice.post("and one more").await?;

    let anew = scene.take(2).await?;
    let seqs: Vec<_> = anew.iter().map(|arrival| (arrival.epoch, arrival.host_seq)).collect();
    assert_eq!(seqs, [(Epoch(1), HostSeq(1)), (Epoch(1), HostSeq(2))]);
    let old = head.to_string();
    assert_eq!(scene.pds.cursors(), ["0", &old, "", "0"]);

    scene.pds.reset_sequence();
    let once = "already reset in the last 24 hours";
    let told = |view: &HostView| view.last_error.as_ref().is_some_and(|why| why.contains(once));
    scene.view_when(told).await?;
    scene.clock.advance_us(25 * 3_600 * 1_000_000);
    scene.subscribe().await?;
    scene.view_when(|view| view.doing.contains("without cursor")).await?;
    alice.post("in the third sequence").await?;
    assert_eq!(scene.take(1).await?[0].epoch, Epoch(2));
    Ok(())
}

/// UP-6: a cursor that is only ahead for a moment, such as at a lagging replica, is kept.
#[tokio::test]
async fn a_cursor_that_is_ahead_for_a_moment_is_kept() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let script = vec![
        vec![event(7), event(8), CLOSE],
        vec![error_frame("FutureCursor", "not here yet")],
        vec![event(9)],
        vec![event(9), event(10)],
    ];
    let (host, seqs) = read_script(&mut scene, script, 4).await?;
    assert_eq!(seqs, [7, 8, 9, 10]);
    assert_eq!(host.queries(), ["cursor=0", "cursor=8", "", "cursor=8"]);
    Ok(())
}

/// UP-6: a host that lost its sequence and does not say so is found out by its numbers.
#[tokio::test]
async fn a_silently_lost_sequence_is_found_out() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let script = vec![
        vec![event(500), CLOSE],
        (1..=10).map(event).collect(),
        vec![event(11)],
        (1..=11).map(event).collect(),
    ];
    let (host, seqs) = read_script(&mut scene, script, 12).await?;
    assert_eq!(seqs[..3], [500, 1, 2]);
    assert_eq!(host.queries(), ["cursor=0", "cursor=500", "", "cursor=0"]);
    assert_eq!(scene.dropped("host_seq_not_increasing"), 10);
    Ok(())
}

/// UP-7, CUR-8: repeated and lower numbers are dropped and counted, ten of them end the connection;
/// gaps are normal, and the event at the cursor itself may come again.
#[tokio::test]
async fn numbers_that_do_not_increase_are_dropped() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let mut disorder = vec![event(3), event(3), event(2), event(90)];
    disorder.extend((0..7).map(|_| event(90)));
    let enough = [disorder.clone(), vec![event(91), event(1), event(92)]].concat();
    let script = vec![enough, vec![event(91), event(100)]];
    let (host, seqs) = read_script(&mut scene, script, 4).await?;
    assert_eq!(seqs, [3, 90, 91, 100]);
    assert_eq!(host.queries(), ["cursor=0", "cursor=91"]);
    assert_eq!(scene.dropped("host_seq_not_increasing"), 10);
    assert_eq!(scene.dropped_in_all(), 10, "the event at the cursor is not counted");
    Ok(())
}

/// VAL-1, VAL-2, MSG-4, I2: an event without a usable DID or seq is dropped and counted; with a seq
/// it counts as settled.
#[tokio::test]
async fn events_without_did_or_seq_are_dropped() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let frames = vec![
        event(1),
        identity(Some(2), None),
        identity(Some(3), Some("did:PLC:upper-case-is-another-did")),
        identity(None, Some(DID)),
        event(5),
    ];
    let (host, seqs) = read_script(&mut scene, vec![frames], 2).await?;
    assert_eq!(seqs, [1, 5]);
    assert_eq!((scene.dropped("malformed"), scene.dropped("bad_did")), (2, 1));
    assert_eq!(scene.dropped_in_all(), 3);
    let view = scene.hosts.view(&host.name).context("host")?;
    assert_eq!((view.seq, view.unsettled), (Some(HostSeq(5)), 0));
    Ok(())
}

/// UP-3, UP-4: info messages and unknown error names end up in words; an error ends the stream.
#[tokio::test]
async fn an_error_frame_ends_the_stream_and_info_does_not() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let script = vec![
        vec![info_frame("Hello", "nice\nday"), event(1), error_frame("Odd\nName", "why not")],
        vec![event(2)],
    ];
    let (host, seqs) = read_script(&mut scene, script, 2).await?;
    assert_eq!(seqs, [1, 2]);
    let error = scene.hosts.view(&host.name).and_then(|view| view.last_error).context("error")?;
    assert_eq!(error, "the host ended the stream: Odd\\nName: why not");
    Ok(())
}

/// HOST-3: a host that was banned is not dialled when the relay starts.
#[tokio::test]
async fn a_banned_host_is_not_dialled() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let other = scene.simnet.pds("other").await?;
    scene.hosts.admit(&scene.pds.hostname(), true).await?;
    scene.hosts.admit(&other.hostname(), true).await?;
    scene.ban().await?;
    scene.start();
    other.connected().await?;
    assert_eq!(scene.view()?.status, HostStatus::Banned);
    assert!(scene.pds.cursors().is_empty());
    Ok(())
}

const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

/// An `#identity` frame, byte by byte: header `{t, op}`, payload `{did, seq, time}`.
fn identity(seq: Option<u16>, did: Option<&str>) -> Vec<u8> {
    let mut frame = [&[0xa2, 0x61], &b"t"[..], &[0x69], b"#identity", b"\x62op\x01"].concat();
    frame.push(0xa1 + u8::from(seq.is_some()) + u8::from(did.is_some()));
    if let Some(did) = did {
        frame.extend(b"\x63did\x78");
        frame.push(u8::try_from(did.len()).unwrap());
        frame.extend(did.as_bytes());
    }
    if let Some(seq) = seq {
        let [high, low] = seq.to_be_bytes();
        frame.extend(b"\x63seq");
        match seq {
            0..=23 => frame.push(low),
            24..=255 => frame.extend([0x18, low]),
            256.. => frame.extend([0x19, high, low]),
        }
    }
    frame.extend(b"\x64time\x78\x182026-01-01T00:00:00.000Z");
    frame
}

/// A good frame with this seq.
fn event(seq: u16) -> Vec<u8> {
    identity(Some(seq), Some(DID))
}

/// Reads a scripted host until so many events arrived, and gives their numbers.
async fn read_script(
    scene: &mut Scene,
    script: Vec<Vec<Vec<u8>>>,
    count: u64,
) -> Result<(HandMade, Vec<u64>)> {
    let host = scripted_host(&scene.tasks, script).await?;
    scene.start();
    scene.hosts.admit(&host.name, true).await?;
    let arrivals = scene.take(count).await?;
    Ok((host, arrivals.iter().map(|arrival| arrival.host_seq.0).collect()))
}
