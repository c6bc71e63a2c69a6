//! Events from the public name, checked as a careful consumer would.

use std::time::UNIX_EPOCH;

use relay_protocol::{Envelope, Message};
use tokio::time::{Instant, timeout_at};

use super::{Line, Patient, STEP_MAX};
use crate::{
    feed::{Arrival, Feed},
    moment,
    watch::{Checked, Verifier},
};

const CHECK: &str = "live";
/// Events that are looked at; of a busy relay no more are needed.
const EVENTS_MAX: u64 = 500;
/// Events whose keys are asked for.
const VERIFIED_MAX: u64 = 20;
/// Events come within seconds; a minute means that something piles up.
const LATE_MS: u64 = 60_000;

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    events: u64,
    /// Verified, and not verifiable with the reason of the last one.
    right: u64,
    unknown: Option<String>,
    /// What was wrong.
    wrong: Option<String>,
    last_seq: Option<u64>,
    /// How old the youngest event was when it came, in ms.
    youngest: Option<u64>,
    /// Why the stream ended.
    ended: Option<String>,
}

pub(super) async fn check(patient: &Patient) -> Vec<Line> {
    let directory = patient.config().map(|config| config.plc_host);
    let directory = directory.unwrap_or_else(|_| "https://plc.directory".to_owned());
    let mut verifier = match Verifier::new(&directory) {
        Ok(verifier) => verifier,
        Err(error) => {
            let why = format!("{error:#}");
            return vec![Line::fail(
                CHECK,
                "no event can be verified",
                why,
                "install ca-certificates",
            )];
        }
    };
    let seen = listen(patient, &mut verifier).await;
    judge(patient, &seen, hosts(patient).await)
}

async fn listen(patient: &Patient, verifier: &mut Verifier) -> Seen {
    let mut seen = Seen::default();
    let mut feed = Feed::new(patient.address.clone(), None);
    let end = Instant::now() + patient.listen;
    while seen.events < EVENTS_MAX && seen.wrong.is_none() {
        match timeout_at(end, feed.next()).await {
            Ok(Ok(Arrival::Frame(frame))) => take(&mut seen, &frame, verifier).await,
            Ok(Ok(Arrival::Connected { .. })) => {}
            Ok(Ok(Arrival::Lost { why, .. })) => {
                seen.ended = Some(why);
                break;
            }
            Ok(Err(error)) => {
                seen.ended = Some(format!("{error:#}"));
                break;
            }
            Err(_over) => break,
        }
    }
    feed.close().await;
    seen
}

async fn take(seen: &mut Seen, frame: &[u8], verifier: &mut Verifier) {
    let decoded = Envelope::peek(frame)
        .and_then(|envelope| Message::decode(frame).map(|message| (envelope, message)));
    let (envelope, message) = match decoded {
        Ok(decoded) => decoded,
        Err(invalid) => {
            seen.wrong = Some(format!("a frame does not decode: {invalid}"));
            return;
        }
    };
    let time = match &message {
        Message::Commit(commit) => commit.time,
        Message::Sync(sync) => sync.time,
        Message::Identity(identity) => identity.time,
        Message::Account(account) => account.time,
        Message::Error(name, _) => {
            seen.ended = Some((*name).to_owned());
            return;
        }
        Message::Info(..) | Message::Ignored => return,
    };
    seen.events += 1;
    let seq = envelope.host_seq;
    if seq <= seen.last_seq && seen.last_seq.is_some() {
        seen.wrong = Some(format!("seq {seq:?} came after {:?}", seen.last_seq));
    }
    seen.last_seq = seq;
    if let Some(at) = ms(time) {
        let age = moment::now_ms().saturating_sub(at);
        seen.youngest = Some(seen.youngest.map_or(age, |known| known.min(age)));
    }
    if seen.right >= VERIFIED_MAX {
        return;
    }
    match verifier.check(&message).await {
        Checked::Right => seen.right += 1,
        Checked::Wrong(why) => seen.wrong = Some(why),
        Checked::Unknown(why) => seen.unknown = Some(why),
    }
}

/// Milliseconds since 1970 of a time on the wire.
fn ms(time: &str) -> Option<u64> {
    let since = humantime::parse_rfc3339(time).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// How many hosts the relay says it knows, as far as one page tells.
async fn hosts(patient: &Patient) -> Option<usize> {
    let client = crate::feed::client().ok()?;
    let url = patient.address.http("/xrpc/com.atproto.sync.listHosts?limit=1");
    let answer = client.get(url).timeout(STEP_MAX).send().await.ok()?;
    let body: serde_json::Value = answer.error_for_status().ok()?.json().await.ok()?;
    Some(body.get("hosts")?.as_array()?.len())
}

fn judge(patient: &Patient, seen: &Seen, hosts: Option<usize>) -> Vec<Line> {
    let name = patient.address.name();
    let seconds = patient.listen.as_secs();
    if let Some(wrong) = &seen.wrong {
        return vec![Line::fail(
            CHECK,
            format!("{name} sent something wrong"),
            crate::told::harmless(wrong, 300),
            "keep the frame (`provision watch --verify`), and tell the project",
        )];
    }
    if seen.events == 0 {
        let ended = seen.ended.as_deref().map(|why| crate::told::harmless(why, 300));
        return vec![match (ended, hosts) {
            (Some(why), _) => Line::fail(
                CHECK,
                format!("the stream of {name} ended"),
                why,
                "look at the check `websocket`, and at the relay's log",
            ),
            (None, Some(0)) => Line::warn(
                CHECK,
                format!("no event in {seconds} s: the relay knows no hosts"),
                "nothing was added yet, and no host asked to be read",
                "add hosts by the admin API, or RELAY_CRAWL",
            ),
            (None, _) => Line::fail(
                CHECK,
                format!("no event in {seconds} s from {name}"),
                "the relay has hosts, and nothing comes of them",
                "see what each host does: GET /admin/v1/hosts of the admin API",
            ),
        }];
    }
    let mut lines = Vec::new();
    if let Some(late) = seen.youngest.filter(|late| *late > LATE_MS) {
        lines.push(Line::warn(
            CHECK,
            format!("the youngest event was {} s old", late / 1_000),
            "the relay makes up for a backlog, or this machine's clock is wrong",
            "look at the check `clock`, then at the relay's load",
        ));
    }
    if seen.right == 0 {
        let why = seen.unknown.clone().unwrap_or_else(|| "no commit came".to_owned());
        lines.push(Line::warn(
            CHECK,
            format!("{} events came, none could be verified", seen.events),
            crate::told::harmless(&why, 300),
            "listen longer (--listen), and see whether this machine reaches the PLC directory",
        ));
    }
    if seen.right > 0 {
        let what = format!("{} events from {name}, {} verified", seen.events, seen.right);
        lines.push(Line::ok(CHECK, what));
    }
    lines
}
