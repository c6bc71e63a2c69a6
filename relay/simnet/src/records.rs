//! Records in the shapes that are most frequent on the network.

use crate::{block::map, clock::datetime};
use ipld_core::ipld::Ipld;

fn text(text: impl Into<String>) -> Ipld {
    Ipld::String(text.into())
}

/// An `app.bsky.feed.post`.
pub fn post_record(words: &str, micros: u64) -> Ipld {
    map([
        ("$type", text("app.bsky.feed.post")),
        ("text", text(words)),
        ("langs", Ipld::List(vec![text("en")])),
        ("createdAt", text(datetime(micros))),
    ])
}

/// A like, repost or similar record that points to a record by address and CID.
pub fn subject_record(collection: &str, uri: &str, micros: u64) -> Ipld {
    let cid = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
    map([
        ("$type", text(collection)),
        ("subject", map([("uri", text(uri)), ("cid", text(cid))])),
        ("createdAt", text(datetime(micros))),
    ])
}

/// An `app.bsky.graph.follow`.
pub fn follow_record(did: &str, micros: u64) -> Ipld {
    map([
        ("$type", text("app.bsky.graph.follow")),
        ("subject", text(did)),
        ("createdAt", text(datetime(micros))),
    ])
}

/// The record with `$type` set to its collection, if it is a map without one.
pub fn typed(collection: &str, mut record: Ipld) -> Ipld {
    if let Ipld::Map(fields) = &mut record {
        fields.entry("$type".to_owned()).or_insert_with(|| text(collection));
    }
    record
}
