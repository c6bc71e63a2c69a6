//! `relay dev`: for authors of PDS software. A strict relay in a temporary directory that says of
//! every event what came, what was checked, and why it was dropped.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{
    print::{self, Ended},
    serve,
};
use crate::{
    config::{Config, DevOptions},
    daemon::{Daemon, Extras, Running},
    domain::DropReason,
    hosts::HostView,
    ingest::VerdictLine,
    telemetry,
};

/// How often the hosts are looked at, and one that is away is tried again: its author has just
/// started it and waits.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(config: Config, options: DevOptions) -> Result<(), Ended> {
    let mut signals = serve::Signals::listen()?;
    telemetry::start("warn", config.log_format).map_err(|error| error.to_string())?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let dir = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let config = config.for_dev(dir.path(), &options);
    let plc = config.plc_host.clone();
    let extras = Extras { verdicts: true, ..Extras::default() };
    let mut running =
        Box::pin(Daemon::start(config, extras)).await.map_err(|why| why.to_string())?;
    let shown = show(&mut running, (&options, &plc), &mut signals).await;
    let stopped = serve::stop(running, &mut signals).await;
    shown.and(stopped.map_err(Ended::Failed))
}

/// Greets, then prints until a signal, a failure, or nobody reads.
async fn show(
    running: &mut Running,
    (options, plc): (&DevOptions, &str),
    signals: &mut serve::Signals,
) -> Result<(), Ended> {
    greet(running, options, plc)?;
    for host in &options.hosts {
        let admitted = running.hosts.admit(host, true).await;
        admitted.map_err(|why| format!("--pds {host:?} cannot be subscribed to: {why}"))?;
    }
    let Some(mut verdicts) = running.verdicts.take() else { return Ok(()) };
    let mut hosts = Hosts { seen: vec![None; options.hosts.len()] };
    let mut connected = running.upstream.watch_connected();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = signals.next() => return Ok(()),
            why = running.failed() => return Err(Ended::Failed(why.to_string())),
            line = verdicts.recv() => match line {
                Some(line) => print::line(&verdict(&line))?,
                None => return Ok(()),
            },
            _ = looks.tick() => hosts.look(running, &options.hosts).await?,
            Ok(()) = connected.changed() => hosts.look(running, &options.hosts).await?,
        }
    }
}

fn greet(running: &Running, options: &DevOptions, plc: &str) -> Result<(), Ended> {
    print::line(&format!(
        "A strict relay for {}; it forgets everything when it ends (Ctrl-C).",
        options.hosts.join(", ")
    ))?;
    print::line(&format!("Identities come from {plc}."))?;
    print::line(&format!(
        "Its firehose is ws://{}/xrpc/com.atproto.sync.subscribeRepos?cursor=0.",
        running.api
    ))?;
    print::line("One line per event of the hosts:")?;
    print::line("  ok    it is in the firehose")?;
    print::line("  skip  it says nothing new, as after a reconnection; no harm done")?;
    print::line("  DROP  it is not in the firehose, for the reason that follows")
}

/// What was last said of each host.
struct Hosts {
    seen: Vec<Option<(bool, Option<u64>)>>,
}

impl Hosts {
    /// Says what changed, and wakes a host that waits for its next try.
    async fn look(&mut self, running: &Running, names: &[String]) -> Result<(), Ended> {
        for (name, seen) in names.iter().zip(&mut self.seen) {
            let Some(view) = running.hosts.view(name) else { continue };
            if view.last_error.is_some() && !view.connected {
                let woken = running.hosts.admit(name, true).await;
                woken.map_err(|why| format!("{name} cannot be subscribed to: {why}"))?;
            }
            let now = Some((view.connected, view.last_error_ms));
            if let Some(line) = (*seen != now).then(|| news(&view, seen.is_none())).flatten() {
                print::line(&line)?;
            }
            *seen = now;
        }
        Ok(())
    }
}

/// What there is to say of a host whose state has changed.
fn news(view: &HostView, is_first: bool) -> Option<String> {
    let name = &view.hostname;
    match (view.connected, &view.last_error) {
        (true, None) => Some(format!("{name} is connected")),
        (true, Some(why)) if is_first => Some(format!("{name} is connected, after: {why}")),
        (true, Some(_)) => Some(format!("{name} is connected again")),
        (false, Some(why)) => Some(format!("{name} is not connected: {why}")),
        (false, None) => None,
    }
}

/// `ok   host 12 #commit did:plc:… rev … (create …): checked …`, or
/// `DROP host 13 #commit …: bad_signature. …`.
fn verdict(line: &VerdictLine) -> String {
    let outcome = match line.dropped {
        None => "ok  ",
        Some(DropReason::Stale | DropReason::SyncUnchanged | DropReason::Redundant) => "skip",
        Some(_) => "DROP",
    };
    let mut text = format!("{outcome} {}", line.host);
    let parts = [
        line.host_seq.map(|seq| seq.to_string()),
        Some(line.kind.map_or("frame", |kind| kind.name()).to_owned()),
        line.did.clone(),
        line.rev.as_ref().map(|rev| format!("rev {rev}")),
        (!line.came.is_empty()).then(|| format!("({})", line.came)),
    ];
    for part in parts.into_iter().flatten() {
        text.push(' ');
        text.push_str(&part);
    }
    let Some(reason) = line.dropped else { return format!("{text}: {}", line.detail) };
    let (label, words) = (reason.label(), reason.words());
    format!("{text}: {label}. {words} {}", line.detail).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::domain::{EventKind, HostSeq};

    use super::*;

    fn line(dropped: Option<DropReason>) -> VerdictLine {
        VerdictLine {
            host: "localhost:2583".to_owned(),
            host_seq: Some(HostSeq(12)),
            kind: Some(EventKind::Commit),
            did: Some("did:plc:abc".to_owned()),
            rev: Some("3kabc".to_owned()),
            came: "create app.bsky.feed.post/3k".to_owned(),
            dropped,
            detail: "prevData is bafyone, undoing the operations leads to bafytwo".to_owned(),
        }
    }

    /// Issue 3, section 5: one readable line: what came, what was checked, why it was dropped.
    #[test]
    fn a_verdict_is_one_line_that_says_what_and_why() {
        assert_eq!(
            verdict(&line(Some(DropReason::ProofMismatch))),
            "DROP localhost:2583 12 #commit did:plc:abc rev 3kabc (create app.bsky.feed.post/3k): \
             proof_mismatch. Undoing the operations does not lead to prevData. prevData is bafyone, \
             undoing the operations leads to bafytwo"
        );
        assert!(verdict(&line(Some(DropReason::Redundant))).starts_with("skip localhost:2583 12 "));
        assert!(verdict(&line(None)).starts_with("ok   localhost:2583 12 #commit did:plc:abc "));
    }

    /// A frame that could not even be read has no more than a host and a reason.
    #[test]
    fn a_frame_without_seq_or_account_has_a_line_too() {
        let broken = VerdictLine {
            host_seq: None,
            kind: None,
            did: None,
            rev: None,
            came: String::new(),
            detail: "the frame is not valid".to_owned(),
            ..line(Some(DropReason::Malformed))
        };
        let text = verdict(&broken);
        assert!(text.starts_with("DROP localhost:2583 frame: malformed. "), "{text}");
        assert!(text.ends_with(" the frame is not valid"), "{text}");
    }
}
