//! Commands about hosts: durable, serialised, recorded, and felt at once.

use tokio::sync::broadcast::error::TryRecvError;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::{HostChange, HostChangeKind};

fn ann() -> Actor {
    Actor::admin("ann")
}

/// The row of the only host, as the store has it.
async fn stored(scene: &Scene) -> Result<HostRow> {
    scene.store.hosts().await?.pop().context("no host")
}

fn words(change: &HostChange) -> [&str; 3] {
    [&change.before, &change.after, &change.reason]
}

/// Defects of the reference: a banned host stayed connected, and one that was unbanned stayed away.
#[tokio::test]
async fn a_ban_ends_the_connection_at_once_and_its_end_brings_the_host_back() -> Result<()> {
    let mut scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    let attempt = host.begin_attempt(&CancellationToken::new());

    let view = scene.hosts.ban(" HTTPS://PDS.example.com/", &ann(), "spam").await?;

    assert!(attempt.is_cancelled());
    assert_eq!((view.status, view.status_reason.as_deref()), (HostStatus::Banned, Some("spam")));
    assert_eq!(stored(&scene).await?.status, HostStatus::Banned);
    host.connected(scene.clock.now_ms());
    scene.hosts.flush().await?;
    assert_eq!(stored(&scene).await?.status, HostStatus::Banned, "a late connection undid the ban");
    let refused = scene.hosts.admit("pds.example.com", true).await;
    assert!(matches!(refused, Err(Refusal::Banned)), "{refused:?}");

    scene.restart().await?;
    let mut wake_ups = scene.hosts.wake_ups();
    let view = scene.hosts.unban("pds.example.com", &ann(), "sorry").await?;

    assert_eq!((view.status, view.status_reason), (HostStatus::Active, None));
    assert_eq!(wake_ups.try_recv(), Ok(view.id), "it is tried at once");
    let history = scene.hosts.history("pds.example.com").await?;
    assert_eq!(words(&history[0]), ["banned", "active", "sorry"]);
    assert_eq!((words(&history[1]), &history[1].actor), (["active", "banned", "spam"], &ann()));
    Ok(())
}

/// HOST-3: a ban of a domain ends connections at once, counts for hosts that come later and after a
/// restart, and its end brings back those that nothing else keeps away.
#[tokio::test]
async fn a_ban_of_a_domain_covers_all_its_hosts_whenever_they_came() -> Result<()> {
    let mut scene = Scene::new().await?;
    let [first, other] = ["a.spam.example.com", "fine.example.com"];
    let (first, other) = (scene.host(first).await?, scene.host(other).await?);
    let attempts = [&first, &other].map(|host| host.begin_attempt(&CancellationToken::new()));

    let ban = scene.hosts.ban_domain("*.Spam.example.com.", &ann(), "spam").await?;

    assert_eq!(ban.domain, "spam.example.com");
    assert_eq!(attempts.map(|attempt| attempt.is_cancelled()), [true, false]);
    assert_eq!((first.status(), other.status()), (HostStatus::Banned, HostStatus::Active));
    let names = ["b.spam.example.com".to_owned(), "spam.example.com".to_owned()];
    for refused in scene.hosts.add_many(&names).await {
        assert!(matches!(refused, Err(Refusal::Banned)), "{refused:?}");
    }
    let asked = scene.hosts.reconnect("a.spam.example.com", &ann(), "").await;
    assert!(matches!(asked, Err(CommandError::Banned(why)) if why.contains("spam.example.com")));

    scene.restart().await?;
    let view = scene.hosts.view("a.spam.example.com").context("gone")?;
    assert_eq!(
        (view.status, view.domain_ban.as_deref()),
        (HostStatus::Banned, Some("spam.example.com"))
    );
    assert_eq!(view.status_reason.as_deref(), Some("the domain spam.example.com is banned"));
    let mut wake_ups = scene.hosts.wake_ups();
    assert!(scene.hosts.unban_domain("spam.example.com", &ann(), "").await?);
    assert_eq!(wake_ups.try_recv(), Ok(first.id()));
    assert_eq!(wake_ups.try_recv(), Err(TryRecvError::Empty), "the others were not away");
    assert_eq!(scene.hosts.view("a.spam.example.com").context("gone")?.status, HostStatus::Active);
    assert!(!scene.hosts.unban_domain("spam.example.com", &ann(), "").await?);
    Ok(())
}

/// What a person decided is not taken over by the policy file, so that the file cannot undo it.
#[tokio::test]
async fn the_policy_file_leaves_bans_of_people_alone() -> Result<()> {
    let scene = Scene::new().await?;
    scene.hosts.ban_domain("a.example", &ann(), "mine").await?;
    let kept = scene.hosts.ban_domain("a.example", &Actor::Policy, "file").await?;
    assert_eq!((kept.actor, kept.note.as_str()), (ann(), "mine"));
    scene.hosts.ban_domain("b.example", &Actor::Policy, "file").await?;
    let taken = scene.hosts.ban_domain("b.example", &ann(), "mine too").await?;
    assert_eq!(taken.actor, ann());
    assert_eq!(scene.hosts.domain_bans(), scene.store.domain_bans().await?);
    Ok(())
}

/// HOST-7: the hundred commands of a hundred people at once all count, one after the other, while the
/// connection of the host comes and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_commands_at_once_none_is_lost() -> Result<()> {
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    let command = |number: u64| {
        let hosts = scene.hosts.clone();
        async move {
            let set = Edit::Set(number + 1);
            let edit = match number % 4 {
                0 => LimitsEdit { accounts: set, ..LimitsEdit::default() },
                1 => LimitsEdit { per_second: set, ..LimitsEdit::default() },
                2 => LimitsEdit { per_hour: set, ..LimitsEdit::default() },
                _ => LimitsEdit { per_day: set, ..LimitsEdit::default() },
            };
            hosts.set_limits("pds.example.com", edit, &ann(), &number.to_string()).await
        }
    };
    let busy = async {
        for now_ms in 1..=20 {
            host.waiting(now_ms, 20, true);
            host.connected(now_ms);
            scene.hosts.flush().await?;
        }
        anyhow::Ok(())
    };
    let (done, flushed) = tokio::join!(futures_util::future::join_all((0..100).map(command)), busy);
    flushed?;
    for view in done {
        view?;
    }

    scene.hosts.flush().await?;
    let row = stored(&scene).await?;
    assert_eq!(row.own_limits, host.row().own_limits);
    assert_eq!(row.changes, 140, "100 of limits, 40 of the status");
    let own = row.own_limits;
    for limit in [own.accounts, own.per_second, own.per_hour, own.per_day] {
        assert!(limit.is_some(), "{own:?}");
    }
    let history = scene.hosts.history("pds.example.com").await?;
    let limits: Vec<_> =
        history.iter().filter(|change| change.kind == HostChangeKind::Limits).collect();
    for pair in limits.windows(2) {
        assert_eq!(pair[0].before, pair[1].after, "each command saw what the one before had done");
    }
    Ok(())
}

/// An operator who closes the window in the middle of a command has given it all the same, and what the
/// relay does is what its database says.
#[tokio::test]
async fn a_command_whose_caller_goes_away_is_carried_out() -> Result<()> {
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    let actor = ann();
    let asked = scene.hosts.ban("pds.example.com", &actor, "spam");
    assert!(asked.now_or_never().is_none(), "it waited for the database");
    assert_eq!(host.status(), HostStatus::Banned);
    scene.hosts.flush().await?;
    assert_eq!(stored(&scene).await?.status, HostStatus::Banned);
    let history = scene.hosts.history("pds.example.com").await?;
    assert_eq!(history.iter().map(words).collect::<Vec<_>>(), [["active", "banned", "spam"]]);
    Ok(())
}

/// A command that the database did not take changes nothing, and says so.
#[tokio::test]
async fn a_command_that_cannot_be_kept_changes_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    scene.store.close().await;
    let refused = scene.hosts.ban("pds.example.com", &ann(), "spam").await;
    assert!(matches!(refused, Err(CommandError::Store(_))), "{refused:?}");
    let refused = scene.hosts.ban_domain("example.com", &ann(), "spam").await;
    assert!(matches!(refused, Err(CommandError::Store(_))), "{refused:?}");
    assert_eq!(host.status(), HostStatus::Active);
    assert!(scene.hosts.domain_bans().is_empty() && host.life.lock().changes.is_empty());
    Ok(())
}

/// Bad input is told in words, and changes nothing.
#[tokio::test]
async fn commands_refuse_what_makes_no_sense() -> Result<()> {
    let scene = Scene::new().await?;
    scene.host("pds.example.com").await?;
    let hosts = &scene.hosts;
    let edit = LimitsEdit { per_hour: Edit::Set(0), ..LimitsEdit::default() };
    let refused = hosts.set_limits("pds.example.com", edit, &ann(), "").await;
    assert!(matches!(refused, Err(CommandError::BadValue(why)) if why.contains("hour")));
    let edit = LimitsEdit { accounts: Edit::Set(u64::MAX), ..LimitsEdit::default() };
    assert!(hosts.set_limits("pds.example.com", edit, &ann(), "").await.is_err());
    let past = Strictness::LenientUntil(5);
    assert!(hosts.set_strictness("pds.example.com", past, &ann(), "").await.is_err());
    for unknown in ["other.example.com", "no name", ""] {
        let refused = hosts.ban(unknown, &ann(), "").await;
        assert!(matches!(refused, Err(CommandError::UnknownHost(_))), "{refused:?}");
    }
    assert!(matches!(hosts.ban_domain("a b", &ann(), "").await, Err(CommandError::BadDomain(_))));
    assert!(hosts.set_trusted_domains(&["a b".to_owned()]).is_err());
    assert_eq!(hosts.history("pds.example.com").await?, []);
    Ok(())
}

/// HOST-6, HOST-7: limits follow the domains that are trusted now, and what was set for the host.
#[tokio::test]
async fn limits_are_those_of_this_moment() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.host("pds.example.com").await?;
    let limit =
        |scene: &Scene| scene.hosts.view("pds.example.com").map(|view| view.limits.accounts);
    assert_eq!(limit(&scene), Some(100));
    scene.hosts.set_trusted_domains(&["*.Example.com".to_owned()])?;
    assert_eq!(limit(&scene), Some(10_000_000));
    scene.hosts.set_trusted_domains(&[])?;
    scene.hosts.raise_account_limit("pds.example.com", 800, &Actor::Relay, "it has 400").await?;
    scene.hosts.raise_account_limit("pds.example.com", 300, &Actor::Relay, "it has 150").await?;
    assert_eq!(limit(&scene), Some(800));
    let edit = LimitsEdit { accounts: Edit::Set(7), ..LimitsEdit::default() };
    scene.hosts.set_limits("pds.example.com", edit, &ann(), "small").await?;
    scene.restart().await?;
    assert_eq!(limit(&scene), Some(7));
    let edit = LimitsEdit { accounts: Edit::Clear, ..LimitsEdit::default() };
    scene.hosts.set_limits("pds.example.com", edit, &ann(), "large again").await?;
    assert_eq!(limit(&scene), Some(800));
    let history = scene.hosts.history("pds.example.com").await?;
    let last = ["7 accounts", "800 accounts by the rules", "large again"];
    assert_eq!(words(&history[0]), last);
    Ok(())
}

/// DESIGN 10.14: leniency and strictness of one host take effect at once and survive a restart.
#[tokio::test]
async fn strictness_of_one_host_is_decided_at_run_time() -> Result<()> {
    let mut scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    assert!(host.is_strict());
    let lenient = Strictness::LenientUntil(scene.clock.now_ms() + 1_000);
    scene.hosts.set_strictness("pds.example.com", lenient, &ann(), "being mended").await?;
    assert!(!host.is_strict());
    scene.restart().await?;
    let host = scene.hosts.by_name("pds.example.com").context("gone")?;
    assert!(!host.is_strict());
    scene.clock.advance_us(1_000_000);
    assert!(host.is_strict(), "its time is over");
    let view =
        scene.hosts.set_strictness("pds.example.com", Strictness::Strict, &ann(), "").await?;
    assert_eq!((view.strict, view.strictness), (true, Strictness::Strict));
    let silenced = scene.hosts.silence_alerts("pds.example.com", u64::MAX, &ann(), "known").await?;
    assert_eq!(silenced.silenced_until_ms, u64::MAX);
    Ok(())
}

/// UP-6 by hand: the cursor is gone in the store before the answer, and the host is read anew.
#[tokio::test]
async fn a_cursor_is_reset_by_name() -> Result<()> {
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    assert!(Scene::try_receive(&host, 9, 10));
    host.settle(host.epoch(), HostSeq(9));
    let attempt = host.begin_attempt(&CancellationToken::new());
    let view = scene.hosts.reset_cursor_by_name("pds.example.com", &ann(), "restored").await?;
    assert!(attempt.is_cancelled());
    assert_eq!((view.seq, host.resume_from()), (None, (Epoch(1), None)));
    let row = stored(&scene).await?;
    assert_eq!((row.epoch, row.cursor), (Epoch(1), None));
    let history = scene.hosts.history("pds.example.com").await?;
    assert_eq!(words(&history[0]), ["9 of epoch 0", "none, epoch 1", "restored"]);
    Ok(())
}

/// HOST-1: a host that was disconnected on purpose stays so until somebody asks for it.
#[tokio::test]
async fn a_disconnected_host_comes_back_when_it_is_asked_for() -> Result<()> {
    let scene = Scene::new().await?;
    let host = scene.host("pds.example.com").await?;
    let attempt = host.begin_attempt(&CancellationToken::new());
    let view = scene.hosts.disconnect("pds.example.com", &ann(), "too loud").await?;
    assert!(attempt.is_cancelled());
    assert_eq!((view.status, stored(&scene).await?.status), (HostStatus::Idle, HostStatus::Idle));
    let mut wake_ups = scene.hosts.wake_ups();
    scene.host("pds.example.com").await?;
    assert_eq!((host.status(), wake_ups.try_recv()), (HostStatus::Active, Ok(host.id())));
    scene.hosts.disconnect("pds.example.com", &ann(), "").await?;
    let view = scene.hosts.reconnect("pds.example.com", &ann(), "try").await?;
    assert_eq!((view.status, wake_ups.try_recv()), (HostStatus::Active, Ok(host.id())));
    Ok(())
}
