//! Which hosts are read, and what they learn of us.

use relay_simnet::{Net, Pds, Upgrade};

use crate::{
    http::post,
    process::{Program, until},
    relay::Relay,
};

/// Setting `crawl`: the hosts that are named, and no other.
#[tokio::test]
async fn hosts_of_the_command_line_are_subscribed_to() {
    let net = Net::seeded(1).await.unwrap();
    let (alpha, beta) = (net.pds("alpha").await.unwrap(), net.pds("beta").await.unwrap());
    let (gamma, other) = (net.pds("gamma").await.unwrap(), net.pds("other").await.unwrap());
    let names = format!("{},{}", alpha.hostname(), beta.hostname());
    let program = Program::beside(&net);

    let flags = program.clone().argument("--crawl").argument(&names).argument("--crawl");
    let relay = flags.argument(&gamma.hostname()).start().await;
    for pds in [&alpha, &beta, &gamma] {
        pds.connected().await.unwrap();
    }
    relay.stop().await;
    let environment = program.set("RELAY_CRAWL", &names).start().await;

    alpha.connected().await.unwrap();
    beta.connected().await.unwrap();
    assert_eq!(other.cursors().len(), 0, "nobody named it");
    environment.stop().await;
}

/// Setting `default_account_limit`, HOST-7: new hosts get it, known ones keep theirs.
#[tokio::test]
async fn new_hosts_get_the_limit_and_old_ones_keep_theirs() {
    let net = Net::seeded(1).await.unwrap();
    let (alpha, beta) = (net.pds("alpha").await.unwrap(), net.pds("beta").await.unwrap());
    let program = Program::beside(&net);
    for (limit, pds) in [("7", &alpha), ("9", &beta)] {
        let relay = program.clone().set("RELAY_DEFAULT_ACCOUNT_LIMIT", limit).start().await;
        assert_eq!(relay.crawl(&pds.hostname()).await.status, 200);
        relay.stop().await;
    }

    let relay = program.start().await;

    let hosts = relay.admin("/admin/v1/hosts").await.json();
    let limits: Vec<_> = hosts["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| (host["hostname"].as_str().unwrap(), host["accountLimit"].as_u64().unwrap()))
        .collect();
    assert_eq!(limits, [(alpha.hostname().as_str(), 7), (beta.hostname().as_str(), 9)]);
    let reference = relay.admin("/admin/pds/list").await.json();
    assert_eq!(reference[1]["RepoLimit"], 9);
    relay.stop().await;
}

/// Setting `contact`, UP-1: in the User-Agent of the subscription and of the question before it.
#[tokio::test]
async fn hosts_read_whom_to_write_to() {
    let software = format!("relay/{} (atproto-relay)", env!("CARGO_PKG_VERSION"));
    let with_contact = format!("{software} (+mailto:us@example.com)");
    for (contact, expected) in [("mailto:us@example.com", with_contact), ("", software)] {
        let relay = Relay::start_with(&[("RELAY_CONTACT", contact)]).await;
        let pds = relay.net.pds("alpha").await.unwrap();
        let body = serde_json::json!({ "hostname": pds.hostname() }).to_string();
        let path = "/xrpc/com.atproto.sync.requestCrawl";
        assert_eq!(post(relay.api(), path, &[], &body).await.status, 200);
        pds.connected().await.unwrap();

        let seen = pds.seen();
        for method in ["describeServer", "subscribeRepos"] {
            let request = seen.iter().find(|seen| seen.path.ends_with(method)).unwrap();
            assert_eq!(request.user_agent, expected, "{method}");
        }
        relay.stop().await;
    }
}

/// Setting `handshakes_max`: while the handshake of a silent host goes on, another host is dialled
/// beside it, or waits until it is over.
#[tokio::test]
async fn no_more_hosts_than_allowed_are_dialled_at_once() {
    for (allowed, beside) in [("1", false), ("2", true)] {
        let relay = Relay::start_with(&[("RELAY_HANDSHAKES_MAX", allowed)]).await;
        let early = relay.host("early").await;
        let (silent, ready) =
            (relay.net.pds("silent").await.unwrap(), relay.net.pds("ready").await.unwrap());
        silent.answer_all(Upgrade::Silence);
        relay.running.hosts.admit(&silent.hostname(), true).await.unwrap();
        silent.asked(1).await.unwrap();
        let view = |pds: &Pds| relay.running.hosts.view(&pds.hostname()).unwrap();
        relay.running.hosts.admit(&ready.hostname(), true).await.unwrap();
        if !beside {
            relay.until("its turn has come", || view(&ready).doing == "connecting").await;
            // An event from host to log takes longer than to dial a host of this machine.
            relay.account(&early, "alice").await;
            assert_eq!(ready.cursors().len(), 0, "it waits");
            assert_eq!(view(&silent).last_error, None, "control: the handshake goes on");
            silent.down();
        }

        until("the other host is subscribed to", async || ready.subscribers() > 0).await;

        assert_eq!(view(&silent).last_error.is_none(), beside);
        relay.stop().await;
    }
}
