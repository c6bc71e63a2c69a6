//! The quota of new hosts, and limits that grow.

use super::*;
use crate::drops::{Dropped, Drops};

/// HOST-3, T21: strangers add as many hosts in a day as they may, whether the relay was restarted or
/// not; operators are not counted; what an operator sets at run time holds until the setting changes.
#[tokio::test]
async fn strangers_add_so_many_hosts_a_day_also_after_a_restart() -> Result<()> {
    let mut scene = Scene::new().await?;
    let net = relay_simnet::Net::seeded(7).await?;
    let mut names = Vec::new();
    for number in 0..4 {
        names.push(net.pds(&format!("pds{number}")).await?.hostname());
    }
    scene.hosts.set_new_hosts_per_day(2).await?;
    scene.host("by-an-operator.example.com").await?;
    for name in &names[..2] {
        scene.hosts.admit(name, false).await?;
    }
    assert_eq!(scene.hosts.new_hosts_per_day(), (2, 2));
    let refused = scene.hosts.admit(&names[2], false).await.unwrap_err();
    assert_eq!(refused, Refusal::TooManyNew { per_day: 2, wait_s: 86_400 });
    assert_eq!((refused.http_status(), refused.name()), (429, "RateLimitExceeded"));
    assert!(refused.to_string().contains("in 86400 s"), "{refused}");
    assert!(scene.hosts.admit(&names[1], false).await.is_ok(), "known hosts are always welcome");

    scene.restart().await?;
    scene.clock.advance_us(3_600_000_000);
    let refused = scene.hosts.admit(&names[2], false).await.unwrap_err();
    assert_eq!(refused, Refusal::TooManyNew { per_day: 2, wait_s: 82_800 });
    scene.host(&names[3]).await?;
    scene.clock.advance_us(82_800_000_000);
    scene.hosts.admit(&names[2], false).await?;
    assert_eq!(scene.hosts.new_hosts_per_day(), (2, 1));
    assert!(scene.hosts.set_new_hosts_per_day(u64::MAX).await.is_err());
    Ok(())
}

/// HOST-8: after a good day an old host may do more, after a bad one less; its history says why.
#[tokio::test]
async fn limits_grow_with_good_days_and_the_history_says_why() -> Result<()> {
    const DAY_US: u64 = 24 * 3_600_000_000;
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    let day = async |days: u64, valid: u64, refused: u64| -> Result<[u64; 2]> {
        for _ in 0..valid {
            host.count_verdict(true);
        }
        for _ in 0..refused {
            host.count_verdict(false);
        }
        scene.clock.advance_us(days * DAY_US);
        scene.hosts.flush().await?;
        let limits = host.limits();
        Ok([limits.accounts, limits.per_second])
    };
    assert_eq!(day(1, 500, 0).await?, [100, 50], "it is too young");
    assert_eq!(day(7, 500, 1).await?, [150, 75]);
    assert_eq!(day(1, 500, 0).await?, [150, 75], "its age allows no more");
    assert_eq!(day(1, 50, 0).await?, [150, 75], "too few to tell");
    assert_eq!(day(1, 500, 500).await?, [125, 62]);

    let history = scene.hosts.history("pds.example.com").await?;
    let told: Vec<_> = history.iter().map(|change| (&*change.reason, &change.actor)).collect();
    assert_eq!(
        told,
        [
            ("500 of 1000 events of the last day were valid", &Actor::Relay),
            ("500 of 501 events of the last day were valid", &Actor::Relay),
        ]
    );
    assert_eq!(history[0].after, "100 accounts by the rules, 25 % more by good behaviour");
    Ok(())
}

/// DESIGN 10.14: an operator sees whom the end of leniency would touch, the worst first, and why.
#[tokio::test]
async fn readiness_lists_what_strict_validation_would_drop() -> Result<()> {
    use crate::domain::{DropReason, EventKind};
    let scene = Scene::with(true, true).await?;
    let (fine, bad) = (scene.host("fine.example.com").await?, scene.host("bad.example.com").await?);
    let strict = scene.host("strict.example.com").await?;
    for _ in 0..1_000 {
        strict.note_commit(true);
    }
    for _ in 0..7 {
        fine.note_commit(true);
    }
    let drops = Drops::default();
    drops.record_lenient(Dropped {
        at_ms: 5,
        host: bad.id(),
        host_seq: Some(HostSeq(9)),
        kind: Some(EventKind::Commit),
        did: Some("did:plc:abc".to_owned()),
        reason: DropReason::Legacy,
        detail: "no prevData".to_owned(),
    });

    let ready = scene.hosts.readiness(&drops);

    let names: Vec<_> = ready.iter().map(|one| one.hostname.as_str()).collect();
    assert_eq!(names, ["bad.example.com", "fine.example.com"], "one is strict for good");
    assert_eq!(ready[0].would_drop, [(DropReason::Legacy, 1)]);
    assert_eq!(ready[0].examples[0].did.as_deref(), Some("did:plc:abc"));
    assert_eq!((ready[1].clean_commits, ready[1].clean_commits_needed), (7, 1_000));
    assert_eq!((ready[1].strict, ready[1].spared_until_ms, ready[1].total()), (false, u64::MAX, 0));
    Ok(())
}

/// HOST-9: limits that keep a host from being read for half of its retention are told in the log, once
/// for each such host, in one line for all that become so together; the line says what to do.
#[tokio::test]
async fn the_log_says_once_that_limits_make_hosts_lose_events() -> Result<()> {
    const HOSTS: usize = 25;
    let seen = tempfile::NamedTempFile::new()?;
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(seen.reopen()?));
    let _guard = tracing::subscriber::set_default(log.finish());
    let told = || -> Vec<String> {
        let text = std::fs::read_to_string(seen.path()).unwrap();
        text.lines().filter(|line| line.contains("raise their limits")).map(str::to_owned).collect()
    };
    let scene = Scene::new().await?;
    let names: Vec<_> = (10..10 + HOSTS).map(|n| format!("pds{n}.example.com")).collect();
    let added: Result<Vec<_>, _> = scene.hosts.add_many(&names).await.into_iter().collect();
    let slow_down = |host: &Arc<Host>| while host.turn() == Turn::Now {};
    let added = added?;
    added.iter().for_each(slow_down);
    let hours = async |hours: u64| {
        scene.clock.advance_us(hours * 3_600_000_000);
        scene.hosts.flush().await
    };

    hours(11).await?;
    assert_eq!(told(), Vec::<String>::new(), "it is not so far yet");
    for _ in 0..5 {
        hours(1).await?;
    }
    let lines = told();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines.concat();
    assert!(line.contains("WARN") && line.contains("pds10.example.com, pds11."), "{line}");
    assert!(line.contains("count=25") && !line.contains("pds20."), "ten are named: {line}");

    // One of them is read to its end, and falls behind anew.
    let again = added.first().context("a host")?;
    again.caught_up();
    hours(1).await?;
    slow_down(again);
    hours(13).await?;
    let lines = told();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("count=1"), "{lines:?}");
    Ok(())
}
