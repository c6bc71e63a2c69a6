//! A fleet that is read directly: hosts, directory, ledger and checkers against each other.

use super::*;
use crate::{Consumer, Fault, Start, plc::Document, wire::frame};
use std::sync::Arc;

const TINY: Plan = Plan {
    hosts: 5,
    accounts: 50,
    events: 400,
    each_fault_per_mille: 10,
    foreign_per_mille: 20,
    ..SMALL
};

/// The ledger of a plan whose events were all sent, and what a faultless relay makes of them.
async fn mirror() -> Result<(Arc<Ledger>, Vec<Received>)> {
    let fleet = Fleet::start(&TINY, FleetOptions::default()).await?;
    let ledger = Arc::clone(fleet.ledger());
    let mut passed = Vec::new();
    let mut source = Source::live(&TINY)?;
    while let Some(event) = source.next().await? {
        ledger.sent(&event)?;
        if event.expect == Expect::Pass {
            let mut received = as_a_relay_sends_it(&event)?;
            received.seq = i64::try_from(passed.len())? + 1;
            passed.push(received);
        }
    }
    assert!(passed.len() > 100 && ledger.unfired_faults().is_empty());
    Ok((ledger, passed))
}

/// A relay fills in what old hosts leave out.
fn as_a_relay_sends_it(event: &Event) -> Result<Received> {
    let received = received(event)?;
    if event.fault != Some(Fault::MissingDefaults) {
        return Ok(received);
    }
    let mut payload = received.payload()?;
    for (name, value) in [
        ("rebase", Ipld::Bool(false)),
        ("tooBig", Ipld::Bool(false)),
        ("blobs", Ipld::List(Vec::new())),
    ] {
        payload.insert(name.to_owned(), value);
    }
    Received::in_frame(frame("#commit", &Ipld::Map(payload)).into())
}

/// What has to pass passes the checker, for the first consumer and for a late one.
#[tokio::test]
async fn a_faultless_relay_is_found_faultless() -> Result<()> {
    let (ledger, passed) = mirror().await?;
    let (mut first, mut late) = (ledger.checker(), ledger.checker_after(200));
    for event in &passed {
        first.observe(event);
    }
    for event in passed.iter().filter(|event| event.seq > 200) {
        late.observe(event);
    }
    assert_eq!((first.outstanding(), late.outstanding()), (0, 0));
    assert_eq!(first.report().clean()?.matched, ledger.must());
    late.report().clean()?;
    Ok(())
}

/// Does something to event 100, or to it and a later one of its account.
type Wrong = fn(&mut Vec<Received>, usize);

/// Whatever a relay does wrong with one event is found and named.
#[tokio::test]
async fn every_wrong_is_found() -> Result<()> {
    let (ledger, passed) = mirror().await?;
    let did = &passed[100].did;
    let next = passed.iter().position(|event| event.seq > 101 && event.did == *did);
    let next = next.context("a later event of the same account")?;
    let wrongs: [(&str, Wrong); 5] = [
        ("missing", |events, _| drop(events.remove(100))),
        ("came twice", |events, _| {
            let mut again = events[100].clone();
            again.seq = 1_000_000;
            events.push(again);
        }),
        ("came after a later event", |events, next| {
            let (one, other) = (events[100].seq, events[next].seq);
            events.swap(100, next);
            (events[100].seq, events[next].seq) = (one, other);
        }),
        ("came after seq", |events, _| events[100].seq = 1),
        ("never sent like this", |events, _| {
            let event = &mut events[100];
            let mut payload = event.payload().unwrap();
            payload.insert("time".to_owned(), Ipld::String("2026-01-01T00:00:00Z".to_owned()));
            let changed = frame(event.kind.name(), &Ipld::Map(payload));
            let seq = event.seq;
            *event = Received::in_frame(changed.into()).unwrap();
            event.seq = seq;
        }),
    ];
    for (words, wrong) in wrongs {
        let mut events = passed.clone();
        wrong(&mut events, next);
        let mut checker = ledger.checker();
        for event in &events {
            checker.observe(event);
        }
        let report = checker.report();
        let words = if words == "missing" { "a later event came before" } else { words };
        assert!(!report.is_clean() && report.to_string().contains(words), "{words}: {report}");
    }
    Ok(())
}

/// VAL-4, KEY-1: what has to be dropped is strange when it comes, with the reasons.
#[tokio::test]
async fn what_had_to_be_dropped_is_strange() -> Result<()> {
    let (ledger, _) = mirror().await?;
    let events: Vec<Event> = Generator::new(&TINY)?.collect::<Result<_>>()?;
    let bad = events.iter().find(|event| event.fault == Some(Fault::HighS)).context("one")?;
    let mut checker = ledger.checker();
    checker.observe(&received(bad)?);
    let report = checker.report();
    assert_eq!(report.strange, 1);
    assert!(report.to_string().contains("although it is bad_signature"), "{report}");
    Ok(())
}

/// CUR-2: a late consumer that misses an event which another consumer got is found out, and so is
/// one that gets another event under the same seq.
#[tokio::test]
async fn consumers_are_compared_with_each_other() -> Result<()> {
    let (ledger, passed) = mirror().await?;
    let mut first = ledger.checker();
    let mut gappy = ledger.checker_after(200);
    let mut short = ledger.checker_after(200);
    let mut shifted = ledger.checker_after(200);
    for event in passed.iter().filter(|event| event.seq > 200) {
        if event.seq != 250 {
            gappy.observe(event);
        }
        if event.seq < 250 {
            short.observe(event);
        }
    }
    for event in &passed {
        first.observe(event);
    }
    first.report().clean()?;
    assert_eq!(gappy.report().lost, 1, "{}", gappy.report());
    assert_eq!(short.report().lost, passed.len() as u64 - 249);
    for event in passed.iter().filter(|event| event.seq > 200) {
        let mut event = event.clone();
        event.seq += 1;
        shifted.observe(&event);
    }
    assert!(shifted.report().strange > 0, "{}", shifted.report());
    Ok(())
}

/// UP-1, CUR-3, CUR-6: hosts send what the plan says, from a cursor on, and keep a bounded part.
#[tokio::test]
async fn hosts_send_the_plan_and_forget_what_was_delivered() -> Result<()> {
    let options = FleetOptions { retained_bytes: 200_000, ..FleetOptions::default() };
    let fleet = Fleet::start(&TINY, options).await?;
    let mut wanted: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
    for event in Generator::new(&TINY)? {
        let event = event?;
        wanted.entry(event.host).or_default().push(event);
    }
    let mut relays = Vec::new();
    for name in fleet.hostnames() {
        let base = format!("ws://{}", name.replace("localhost", "127.0.0.1"));
        relays.push(Consumer::connect_as_relay(&base, Start::After(0)).await?);
    }
    fleet.connected().await?;
    let mut source = Source::live(&TINY)?;
    let reading = async {
        for (host, relay) in (0_u32..).zip(&mut relays) {
            for event in &wanted[&host] {
                assert_eq!(relay.next().await?.frame, event.frame);
            }
        }
        anyhow::Ok(())
    };
    let played = fleet.play(&mut source, u64::MAX, Pace::Fast);
    let (played, read) = tokio::join!(played, reading);
    read?;
    assert_eq!(played?, TINY.total());
    assert_eq!((fleet.ledger().undelivered(), fleet.ledger().redelivered()), (0, 0));

    let base = format!("ws://{}", fleet.hostnames()[0].replace("localhost", "127.0.0.1"));
    let head = fleet.heads()[0];
    let mut again = Consumer::connect_as_relay(&base, Start::After(head - 2)).await?;
    assert_eq!(again.take(2).await?.len(), 2);
    assert_eq!(fleet.ledger().redelivered(), 2);
    let mut late = Consumer::connect(&base, Start::After(0)).await?;
    let oldest = late.next().await?.seq;
    assert!(oldest > 1 && late.infos()[0].0 == "OutdatedCursor", "from {oldest}");
    Ok(())
}

/// DOC-1, KEY-3: the directory makes the documents that stored ones would be.
#[tokio::test]
async fn the_directory_answers_for_all_accounts() -> Result<()> {
    let fleet = Fleet::start(&TINY, FleetOptions::default()).await?;
    let population = fleet.population();
    for account in [0, 49] {
        let secret = population.secret_bytes(account);
        let host = fleet.hostnames()[population.host(account) as usize].clone();
        let document = Document {
            did: population.did(account),
            handle: Population::handle(account),
            key: SigningKey::from_bytes(Curve::K256, &secret).context("a key")?,
            form: crate::KeyForm::Multikey,
            endpoint: format!("http://{host}"),
            host: 0,
        };
        let answer = get(&fleet.plc_url(), &format!("/{}", document.did)).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with(&document.to_json().to_string()), "{answer}");
    }
    let unknown = get(&fleet.plc_url(), "/did:plc:zzzzzzzzzzzzzzzzzzzzzzzz").await?;
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    assert_eq!(fleet.lookups(), 3);
    let mine = population.did(0);
    let status = format!("/xrpc/com.atproto.sync.getRepoStatus?did={mine}");
    let at = |host: usize| format!("http://{}", fleet.hostnames()[host]);
    assert!(get(&at(0), &status).await?.contains("\"active\":true"));
    assert!(get(&at(1), &status).await?.contains("RepoNotFound"));
    assert!(get(&at(0), "/xrpc/com.atproto.sync.listRepos").await?.ends_with("{\"repos\":[]}"));
    Ok(())
}

/// Head and body of a GET.
async fn get(base: &str, path: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let authority = base.trim_start_matches("http://").replace("localhost", "127.0.0.1");
    let mut stream = tokio::net::TcpStream::connect(&authority).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
