//! Lookups at a simulated directory and at simulated did:web hosts.

use anyhow::Result;
use futures_util::future::join_all;
use relay_simnet::{Account, AccountOptions, Answer as Says};
use tokio::time::Instant;

use super::*;
use crate::net::NetOptions;

/// A simulated network and the room under test.
struct Scene {
    simnet: relay_simnet::Net,
    host: relay_simnet::Pds,
    identities: Identities,
    tasks: Tasks,
}

impl Scene {
    async fn new() -> Result<Self> {
        Self::with(1_000, true).await
    }

    async fn with(plc_rate: u32, allow_insecure: bool) -> Result<Self> {
        let simnet = relay_simnet::Net::seeded(3).await?;
        let host = simnet.pds("alpha").await?;
        let user_agent = "test".to_owned();
        let net = Net::new(NetOptions { allow_insecure, user_agent, ..NetOptions::default() })?;
        let tasks = Tasks::default();
        let options = IdentityOptions {
            plc_url: simnet.plc().url(),
            plc_rate,
            concurrency: 64,
            allow_insecure,
        };
        let identities = Identities::new(options, net, Clock::system(), &tasks);
        Ok(Self { simnet, host, identities, tasks })
    }

    async fn account(&self, name: &str) -> Result<(Account, Did)> {
        let account = self.host.account(name).await?;
        let did = Did::parse(account.did())?;
        Ok((account, did))
    }

    async fn web_account(&self, name: &str) -> Result<(Account, Did)> {
        let options = AccountOptions { web: true, ..AccountOptions::default() };
        let account = self.host.account_with(name, options).await?;
        let did = Did::parse(account.did())?;
        Ok((account, did))
    }
}

/// RES-1, DOC-*: key and host of a document, from the directory and from a did:web host.
#[tokio::test]
async fn documents_are_fetched_from_the_directory_and_from_web_hosts() -> Result<()> {
    let scene = Scene::new().await?;
    for (_, did) in [scene.account("alice").await?, scene.web_account("bob").await?] {
        let document = scene.identities.fetch(&did, false).await?;
        assert!(document.key.is_some());
        let host = document.pds.as_ref().map(|pds| pds.host.as_str().to_owned());
        assert_eq!(host, Some(scene.host.hostname()));
    }
    Ok(())
}

/// RES-2, SEC-3: however many ask for a DID at once, the directory is asked once.
#[tokio::test]
async fn lookups_of_one_did_are_joined() -> Result<()> {
    let scene = Scene::new().await?;
    let (alice, did) = scene.account("alice").await?;
    scene.simnet.plc().set_latency(Duration::from_millis(100));

    let fetches = (0..50).map(|n| scene.identities.fetch(&did, n % 2 == 0));
    let found = join_all(fetches).await;

    assert!(found.iter().all(Result::is_ok));
    assert_eq!(scene.simnet.plc().lookups(&alice), 1);
    assert_eq!(scene.identities.depth(), 0);
    scene.identities.fetch(&did, false).await?;
    assert_eq!(scene.simnet.plc().lookups(&alice), 2, "nothing is kept after a success");
    Ok(())
}

/// RES-2: whoever gives up waiting takes the lookup away from nobody.
#[tokio::test]
async fn a_lookup_outlives_the_one_who_started_it() -> Result<()> {
    let scene = Scene::new().await?;
    let (alice, did) = scene.account("alice").await?;
    scene.simnet.plc().set_latency(Duration::from_millis(50));

    let impatient = timeout(Duration::from_millis(5), scene.identities.fetch(&did, false)).await;
    let patient = scene.identities.fetch(&did, false).await;

    assert!(impatient.is_err() && patient.is_ok());
    assert_eq!(scene.simnet.plc().lookups(&alice), 1);
    Ok(())
}

type Fits = fn(&IdentityError) -> bool;

/// RES-1, RES-2, DOC-1, DOC-6: what each answer of the directory means, and that it is not asked
/// again at once, unless a fresh answer is wanted.
#[tokio::test]
async fn answers_of_the_directory_are_told_apart() -> Result<()> {
    let scene = Scene::new().await?;
    let plc = scene.simnet.plc();
    let not_found: Fits = |error| matches!(error, IdentityError::NotFound(_));
    let invalid: Fits = |error| matches!(error, IdentityError::Invalid(_));
    let unavailable: Fits = |error| matches!(error, IdentityError::Unavailable(_));
    let rows = [
        (Says::NotFound, not_found),
        (Says::Gone, not_found),
        (Says::WrongId, invalid),
        (Says::Html, unavailable),
        (Says::Truncated, unavailable),
        (Says::Oversized, unavailable),
        (Says::Status(500), unavailable),
        (Says::Status(403), unavailable),
        (Says::Silence, unavailable),
    ];
    let check = async |n: usize, answer: Says, fits: Fits| -> Result<()> {
        let (account, did) = scene.account(&format!("account{n}")).await?;
        plc.answer(&account, answer.clone());
        let error = scene.identities.fetch(&did, false).await.unwrap_err();
        assert!(fits(&error), "{answer:?}: {error:?}");
        assert_eq!(scene.identities.fetch(&did, false).await.unwrap_err(), error, "{answer:?}");
        assert_eq!(plc.lookups(&account), 1, "{answer:?} is kept");
        plc.answer(&account, Says::Document);
        assert!(scene.identities.fetch(&did, false).await.is_err(), "{answer:?} is still kept");
        assert!(scene.identities.fetch(&did, true).await.is_ok(), "{answer:?} and then fresh");
        assert!(scene.identities.fetch(&did, false).await.is_ok(), "{answer:?} is forgotten");
        Ok(())
    };
    let checks = rows.iter().enumerate().map(|(n, (answer, fits))| check(n, answer.clone(), *fits));
    join_all(checks).await.into_iter().collect()
}

/// DOC-6: a document without key or host is a document; what it lacks is for the judge.
#[tokio::test]
async fn a_document_may_lack_key_or_host() -> Result<()> {
    let scene = Scene::new().await?;
    let (alice, did) = scene.account("alice").await?;
    scene.simnet.plc().answer(&alice, Says::NoKey);
    let document = scene.identities.fetch(&did, false).await?;
    assert!(document.key.is_none() && document.pds.is_some());
    scene.simnet.plc().answer(&alice, Says::NoHost);
    let document = scene.identities.fetch(&did, false).await?;
    assert!(document.key.is_some() && document.pds.is_none());
    Ok(())
}

/// ACC-13: only a log that ends with a tombstone makes a DID tombstoned.
#[tokio::test]
async fn a_tombstone_is_confirmed_by_the_log() -> Result<()> {
    let scene = Scene::new().await?;
    let ((alice, gone), (bob, missing)) =
        (scene.account("alice").await?, scene.account("bob").await?);
    scene.simnet.plc().tombstone(&alice);
    scene.simnet.plc().answer(&bob, Says::NotFound);

    let (gone, missing) = tokio::join!(
        scene.identities.fetch(&gone, false),
        scene.identities.fetch(&missing, false),
    );

    assert_eq!(gone.unwrap_err(), IdentityError::Tombstoned);
    assert!(matches!(missing.unwrap_err(), IdentityError::NotFound(_)));
    Ok(())
}

/// PLC-3: after a 429 nobody asks until the time is over; the failure of one DID is not kept.
#[tokio::test]
async fn a_429_holds_all_lookups_back() -> Result<()> {
    let scene = Scene::new().await?;
    let ((alice, first), (bob, second)) =
        (scene.account("alice").await?, scene.account("bob").await?);
    scene.simnet.plc().answer(&alice, Says::TooMany { retry_after: 1 });
    let start = Instant::now();

    let refused = scene.identities.fetch(&first, false).await.unwrap_err();
    scene.simnet.plc().answer(&alice, Says::Document);
    let both = tokio::join!(
        scene.identities.fetch(&first, false),
        scene.identities.fetch(&second, false),
    );

    assert!(refused.to_string().contains("asks to wait 1 s"), "{refused}");
    assert!(both.0.is_ok() && both.1.is_ok());
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(scene.simnet.plc().lookups(&bob), 1);
    Ok(())
}

/// PLC-3, RES-6: a long pause is told at once instead of waited for, and costs no request.
#[tokio::test]
async fn a_long_pause_is_told_at_once() -> Result<()> {
    let scene = Scene::new().await?;
    let ((alice, first), (bob, second)) =
        (scene.account("alice").await?, scene.account("bob").await?);
    let (_, web) = scene.web_account("carol").await?;
    scene.simnet.plc().answer(&alice, Says::TooMany { retry_after: 3_600 });

    let refused = scene.identities.fetch(&first, false).await.unwrap_err();
    let next = timeout(Duration::from_secs(5), scene.identities.fetch(&second, false)).await?;

    assert!(refused.to_string().contains("300 s"), "no longer than we grant: {refused}");
    assert!(matches!(next, Err(IdentityError::Unavailable(_))));
    assert_eq!(scene.simnet.plc().lookups(&bob), 0);
    assert!(scene.identities.fetch(&web, false).await.is_ok(), "did:web has its own budget");
    Ok(())
}

/// RES-6, setting `RELAY_PLC_RATE`: requests are spaced by the rate after its burst.
#[tokio::test]
async fn requests_keep_to_the_rate() -> Result<()> {
    let scene = Scene::with(5, true).await?;
    let (_, did) = scene.account("alice").await?;
    let start = Instant::now();
    for _ in 0..5 {
        scene.identities.fetch(&did, true).await?;
    }
    let burst = start.elapsed();
    for _ in 0..3 {
        scene.identities.fetch(&did, true).await?;
    }
    let spaced = start.elapsed();
    assert!(spaced >= Duration::from_millis(590), "{burst:?} {spaced:?}");
    Ok(())
}

/// SYN-4, SEC-1: a did:web on this machine, or of a method nobody knows, is not looked up.
#[tokio::test]
async fn local_and_unknown_dids_are_refused_without_a_request() -> Result<()> {
    let scene = Scene::with(100, false).await?;
    let (bob, local) = scene.web_account("bob").await?;
    let unknown = Did::parse("did:example:alice")?;
    for did in [local, unknown] {
        let error = scene.identities.fetch(&did, false).await.unwrap_err();
        assert!(matches!(error, IdentityError::Invalid(_)), "{error}");
    }
    assert_eq!(bob.web().map(relay_simnet::Web::lookups), Some(0));
    assert_eq!(scene.simnet.plc().total_lookups(), 0);
    let (_, alice) = scene.account("alice").await?;
    assert!(scene.identities.fetch(&alice, false).await.is_ok());
    Ok(())
}

/// RES-1, RES-2: what answers of a did:web host mean.
#[tokio::test]
async fn answers_of_a_web_host_are_told_apart() -> Result<()> {
    let scene = Scene::new().await?;
    let (carol, did) = scene.web_account("carol").await?;
    let web = carol.web().ok_or_else(|| anyhow::anyhow!("not a did:web"))?;
    let mut last = web.lookups();
    for (answer, is_conclusive) in [
        (Says::NotFound, true),
        (Says::WrongId, true),
        (Says::Status(500), false),
        (Says::Oversized, false),
    ] {
        web.answer(answer.clone());
        let error = scene.identities.fetch(&did, true).await.unwrap_err();
        let unavailable = matches!(error, IdentityError::Unavailable(_));
        assert_eq!(unavailable, !is_conclusive, "{answer:?}: {error}");
        assert!(web.lookups() > last);
        last = web.lookups();
    }
    web.answer(Says::Document);
    assert!(scene.identities.fetch(&did, true).await.is_ok());
    Ok(())
}

/// Shutdown: a lookup under way ends with an answer, and the tasks with it.
#[tokio::test]
async fn a_stop_ends_lookups_under_way() -> Result<()> {
    let scene = Scene::new().await?;
    let (alice, did) = scene.account("alice").await?;
    scene.simnet.plc().answer(&alice, Says::Silence);
    let (answer, ()) = tokio::join!(scene.identities.fetch(&did, false), async {
        while scene.simnet.plc().lookups(&alice) == 0 {
            tokio::task::yield_now().await;
        }
        scene.tasks.stop().await;
    });
    assert!(answer.unwrap_err().to_string().contains("the relay is stopping"));
    Ok(())
}
