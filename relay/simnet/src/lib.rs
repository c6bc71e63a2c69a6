//! A simulated atproto network with its own oracle; shares no code with the relay.
//!
//! Everything listens on free ports of 127.0.0.1 and stops when the last handle is dropped.
//! Records, keys, revisions and times follow from the seed; ports and scheduling do not.
//!
//! # How a test reads
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! use relay_simnet::{Consumer, Fault, Net, Start};
//!
//! let net = Net::seeded(7).await?;
//! let alpha = net.pds("alpha").await?;
//! let alice = alpha.account("alice").await?;
//! // Here the relay under test joins: `alpha.hostname()`, `net.plc().url()`. Without one:
//! let mut firehose = Consumer::connect(&alpha.stream_url(), Start::Live).await?;
//!
//! alice.with(Fault::HighS).post("dropped by a relay").await?;
//! alice.post("passed by a relay").await?;
//!
//! assert_eq!(firehose.next_for(&alice).await?.text(), "dropped by a relay");
//! assert_eq!(firehose.next_for(&alice).await?.text(), "passed by a relay");
//! assert!(net.unfired_faults().is_empty());
//! # Ok(()) }
//! ```
//!
//! # The parts
//! - [`Net`]: `seeded(seed)`, `plc()`, `pds(name)`, `hosts()`, `accounts()`, `oracle()`,
//!   `unfired_faults()`, `undelivered()`, `cut_all()`.
//! - [`Pds`], a host. Names: `hostname()` is `localhost:<port>`, `url()`, `stream_url()`.
//!   Accounts: `account(name)`, `account_with(name, `[`AccountOptions`]`)`. Stream: `head()`,
//!   `retain(events, bytes)`, `forget_events()`, `skip_seq(n)`, `reset_sequence()`,
//!   `send_raw(`[`RawFrame`]`)`, `send_raw_for_ever`, `send_payload(kind, fields)`,
//!   `send_consumer_too_slow()`, `set_lag_max`.
//!   Connections: `cut()`, `down()`, `up()`, `restart()`, `answer_next(`[`Upgrade`]`)`,
//!   `answer_all`, `answer_path("describeServer", Some(503))`, `set_server_header`,
//!   `limit(&`[`Limiter`]`)`. What it saw:
//!   `requests("getRepo")`, `seen()`, `cursors()`, `subscribers()`, `connected()`,
//!   `disconnected()`, `asked(times)`, `undelivered()`.
//! - [`Account`], also usable as its DID. Writing: `post`, `like`, `create`, `update`, `delete`,
//!   `apply(Vec<`[`Write`]`>)`, `empty_commit()`, `post_in_silence` (a gap). Announcing: `sync()`,
//!   `sync_again()`, `identity(handle)`, `set_status(active, status)`, `announce_status`,
//!   `set_status_in_silence`. Life: `deactivate`, `activate`, `takedown`, `reverse_takedown`,
//!   `delete_account`, `change_handle`, `rotate_key(announced)`, `rotate_key_without_document`,
//!   `publish_key`, `migrate_to(&host)`. Mischief: `with(`[`Fault`]`)`, `sign_with_retired_key()`,
//!   `through(&host)` (another host sends).
//! - [`Plc`]: `url()`, `lookups(&account)`, `total_lookups()`, `answer(&account, `[`Answer`]`)`,
//!   `answer_all`, `set_latency`, `down()`, `up()`, `tombstone(&account)`. A did:web account has
//!   the same on `account.web()`.
//! - [`Consumer`]: `connect(base, `[`Start`]`)`, `connect_query(base, "cursor=abc")`,
//!   `reconnecting()`, `patient(d)`, `next()`, `next_item()` ([`Item`]), `next_for(did)`,
//!   `take(n)`, `until(..)`, `silent_for(d)`, `infos()`, `settle(&mut checker)`,
//!   `compare_until(&mut checker, stop)`. It reads only
//!   when asked, so one that is not asked is a slow consumer.
//! - [`Received`]: `seq`, `kind`, `did`, `rev`, `frame`; `text()`, `handle()`, `active()`,
//!   `status()`, `ops()`, `record(path)`, `payload()`, `blocks()`, `digest()`.
//! - [`Oracle`]: `check(&events)` for a consumer from cursor 0, or a [`Checker`] that is fed one
//!   by one (`checker()`, `checker_from_now()`); [`Report`]: `clean()?`, counts by kind, sentences.
//!   `expected_drops()`, `compare_drops([(label, count)])` for a relay's counters, `ignore(did)`
//!   for accounts that the test takes down in the relay itself.
//! - [`Load`]: `prepare(&net, `[`LoadOptions`]`)`, `send(n)`, `run(rate, span)`, `pregenerate(n)` or
//!   `pregenerate_introduced(n)` and then [`Pregenerated`]`::play(n)`, `play_at(rate)`.
//! - TLS: [`Net::secure_pds`] makes a host with a certificate of [`Net::authority`], whose `address()`
//!   is `wss://localhost:<port>`; [`Terminator`] takes TLS off in front of a relay;
//!   [`Consumer::connect_secure`] reads through it. [`Trust`] is for servers whose authority another
//!   program made.
//! - [`scale`]: the same network at its real size: [`scale::Plan`], [`scale::Generator`],
//!   [`scale::Fleet`], [`scale::Ledger`] and [`scale::Checker`].
//! - [`Mix`]: `prepare(&net, `[`MixOptions`]`)` with every [`Adversary`] or one alone, `knock_at(relay)`,
//!   `send(n)`, `run(rate, span)`, `strikes()`, `unfired()`, `misled()`, `make_peace()`. A
//!   [`NameServer`] plays one [`NameTrick`].
//! - [`mst`]: [`mst::Tree`] (naive) and [`mst::CachedTree`]: `insert`, `remove`, `root`,
//!   `root_and_blocks`, `proof(&[keys])`; [`mst::layer`]. [`keys::SigningKey`], [`block::car`],
//!   [`block::decode`], [`wire::frame`] build inputs by hand out of [`Ipld`].
//!
//! # Limits
//! The oracle judges an event when a relay is first given it. Where timing leaves two outcomes
//! open (a document that changed while events were on the way, limits per minute), the event may
//! go either way. Settle the network before such a change to have everything decided.
#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "every error is a sentence for the failing test, and a broken simulator must stop it"
)]

pub mod account;
pub mod adversary;
pub mod block;
pub mod clock;
pub mod consumer;
pub mod keys;
pub mod load;
pub mod mix;
pub mod mst;
pub mod names;
pub mod net;
pub mod oracle;
pub mod pds;
pub mod plc;
pub mod records;
pub mod scale;
pub mod tls;
pub mod wire;

mod repo;
mod server;

pub use account::{Account, AccountOptions, Sent};
pub use adversary::{
    Adversary, CheckTrick, Fault, HandshakeTrick, IdentityTrick, RawFrame, StreamTrick,
};
pub use consumer::{Consumer, Item, Received, Refused, Start};
pub use ipld_core::ipld::Ipld;
pub use keys::{Curve, KeyForm};
pub use load::{COMMIT_FAULTS, Load, LoadOptions, Pregenerated};
pub use mix::{Mix, MixOptions};
pub use names::{NameServer, NameTrick};
pub use net::Net;
pub use oracle::{Checker, KindCounts, Oracle, Report};
pub use pds::{Limiter, Pds, Upgrade};
pub use plc::{Answer, Plc, Web};
pub use repo::Write;
pub use tls::{Authority, Terminator, Trust};
pub use wire::Kind;

#[cfg(test)]
mod tests;
