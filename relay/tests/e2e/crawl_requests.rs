//! Who may become a host of this relay by asking for it (HOST-2…5, UP-11, SEC-1).

use anyhow::Result;
use relay_simnet::Net;

use crate::support::Relay;

/// T21, HOST-2, SYN-10: names that no host may have are refused with what is wrong, and nobody is
/// added or even asked.
#[tokio::test]
async fn names_that_are_no_hosts_are_refused() -> Result<()> {
    let net = Net::seeded(70).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::alone(&net, |_, _| {}).await?;
    let long = format!("{}.example.com", "x".repeat(300));
    let names = [
        "",
        " ",
        "pds",
        "localhost",
        "localhost:0x50",
        "10.0.0.1",
        "127.0.0.1",
        "127.0.0.1:2583",
        "[::1]",
        "::1",
        "2130706433",
        "pds.example.com:8443",
        "user@pds.example.com",
        "user:word@pds.example.com",
        "ftp://pds.example.com",
        "-pds.example.com",
        "pds..example.com",
        "pds_.example.com",
        "pds.example.c\u{f6}m",
        "pds.example.com\u{0}",
        "pds.local",
        "pds.onion",
        long.as_str(),
    ];

    for name in names {
        let (status, told) = relay.request_crawl(name).await?;
        assert_eq!((status, told["error"].as_str()), (400, Some("InvalidRequest")), "{name:?}");
        assert!(told["message"].as_str().is_some_and(|words| !words.is_empty()), "{name:?}");
    }
    assert!(relay.running.hosts.all().is_empty());
    assert_eq!(relay.request_crawl(&alpha.url()).await?.0, 200, "the control");
    alpha.connected().await?;
    Ok(())
}

/// T21, SEC-1, DESIGN 10.16: in earnest a name on this machine is refused, and so is one that leads
/// here; the refusal names the mode that would lift it.
#[tokio::test]
async fn names_of_this_machine_are_refused_in_earnest() -> Result<()> {
    let net = Net::seeded(71).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::alone(&net, |config, _| config.dev = false).await?;

    for name in [alpha.hostname(), alpha.url(), format!("https://{}", alpha.hostname())] {
        let (status, told) = relay.request_crawl(&name).await?;
        assert_eq!((status, told["error"].as_str()), (400, Some("InvalidRequest")), "{name}");
        assert!(told["message"].as_str().is_some_and(|words| words.contains("--dev")), "{told}");
    }
    assert!(alpha.seen().is_empty() && relay.running.hosts.all().is_empty());
    Ok(())
}

/// T21, UP-11, WS-11: a relay that asks to be crawled is recognised by its `Server` header.
#[tokio::test]
async fn a_relay_that_asks_to_be_crawled_is_refused() -> Result<()> {
    let net = Net::seeded(72).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    alpha.set_server_header("Indigo (Atproto-Relay)");
    let relay = Relay::alone(&net, |_, _| {}).await?;
    let itself = format!("localhost:{}", relay.running.api.port());

    for name in [alpha.hostname(), itself] {
        let (status, told) = relay.request_crawl(&name).await?;
        assert_eq!((status, told["error"].as_str()), (400, Some("InvalidRequest")), "{name}");
        assert!(told["message"].as_str().is_some_and(|words| words.contains("relay itself")));
    }
    assert!(relay.running.hosts.all().is_empty() && alpha.cursors().is_empty());
    assert_eq!(relay.request_crawl(&beta.hostname()).await?.0, 200, "the control");
    Ok(())
}

/// T21, HOST-3, HOST-4: a host that does not describe itself is refused, and is not asked again for
/// a minute, however often somebody names it.
#[tokio::test]
async fn a_host_that_does_not_describe_itself_is_asked_once_a_minute() -> Result<()> {
    let net = Net::seeded(73).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    alpha.answer_path("describeServer", Some(500));
    let relay = Relay::alone(&net, |_, _| {}).await?;

    for _ in 0..5 {
        let (status, told) = relay.request_crawl(&alpha.hostname()).await?;
        assert_eq!((status, told["error"].as_str()), (400, Some("HostNotFound")), "{told}");
    }
    assert_eq!(alpha.requests("describeServer"), 1);
    assert!(relay.running.hosts.all().is_empty() && alpha.cursors().is_empty());

    for _ in 0..5 {
        assert_eq!(relay.request_crawl(&beta.hostname()).await?.0, 200);
    }
    beta.connected().await?;
    assert_eq!((beta.requests("describeServer"), beta.cursors().len()), (1, 1));
    Ok(())
}

/// HOST-4, UP-10: a known host that sleeps after failures is woken by its request, once a minute.
#[tokio::test]
async fn a_known_host_that_sleeps_is_woken_by_its_request() -> Result<()> {
    let net = Net::seeded(74).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let relay = Relay::alone(&net, |_, extras| {
        extras.upstream.first_retry = std::time::Duration::from_mins(2);
    })
    .await?;
    let mut watch = relay.watch().await?;
    alpha.down();
    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    relay
        .until("it sleeps", || {
            let view = relay.running.hosts.view(&alpha.hostname());
            view.is_some_and(|view| view.doing.contains("next try in"))
        })
        .await?;

    alpha.up().await?;
    alice.post("I am back").await?;
    assert_eq!(relay.request_crawl(&alpha.hostname()).await?.0, 200);
    alpha.connected().await?;

    relay.proved(&net, &mut watch).await?;
    Ok(())
}
