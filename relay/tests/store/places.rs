//! How far lists of others were read: what holds on both databases.

use relay::{
    domain::{HostId, Seq},
    store::{CandidateRow, PullRow, WalkRow},
};

use super::Place;

const NOW_MS: u64 = 1_700_000_000_000;

/// HOST-13, ACC-10: a list goes on where it was after a restart, whatever its page is called.
pub(crate) async fn places_in_lists_are_kept(place: Place) {
    let store = place.open().await;
    let pull = PullRow {
        source: "relay.example.com".to_owned(),
        secure: true,
        next_page: Some("page 2 \u{fc}".to_owned()),
        listed: 7,
        started_ms: NOW_MS,
        last_error: Some("cut\0off".to_owned()),
        ..PullRow::default()
    };
    let walk = WalkRow {
        host: HostId(3),
        next_page: Some("x".to_owned()),
        listed: 5,
        asked: true,
        started_ms: NOW_MS,
        ..WalkRow::default()
    };
    store.save_pull(&pull).await.unwrap();
    store.save_walk(&walk).await.unwrap();
    let ended = WalkRow { next_page: None, finished_ms: Some(NOW_MS + 1), ..walk };
    store.save_walk(&ended).await.unwrap();
    store.close().await;

    let store = place.open().await;
    let kept = PullRow { last_error: Some("cutoff".to_owned()), ..pull };
    assert_eq!(store.pulls().await.unwrap(), [kept]);
    assert_eq!(store.walks().await.unwrap(), [ended]);
}

/// A candidate keeps who named it first, and what came of it.
pub(crate) async fn candidates_keep_who_named_them_first(place: Place) {
    let store = place.open().await;
    let row = |did: &str, outcome: Option<&str>| CandidateRow {
        hostname: "a.example.com".to_owned(),
        did: did.to_owned(),
        first_seen_ms: NOW_MS,
        wanted: true,
        tried_ms: outcome.map(|_| NOW_MS),
        outcome: outcome.map(ToOwned::to_owned),
    };
    let (first, later) = (row("did:plc:first", None), row("did:plc:later", Some("added")));
    store.save_candidates(&[first]).await.unwrap();

    store.save_candidates(&[row("did:plc:later", None), later]).await.unwrap();

    assert_eq!(store.candidates().await.unwrap(), [row("did:plc:first", Some("added"))]);
}

/// I4: the lowest seq only rises.
pub(crate) async fn the_lowest_seq_only_rises(place: Place) {
    let store = place.open().await;
    assert_eq!(store.seq_floor().await.unwrap(), Seq(0));
    for (raised, expected) in [(5_000, 5_000), (7, 5_000), (Seq::MAX.0, Seq::MAX.0)] {
        store.raise_seq_floor(Seq(raised)).await.unwrap();
        assert_eq!(store.seq_floor().await.unwrap(), Seq(expected));
    }
}
