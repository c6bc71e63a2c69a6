//! A directory that answers, but not with the document that was asked for.

use anyhow::{Result, ensure};
use relay::domain::DropReason;
use relay_simnet::{Account, AccountOptions, Answer, Load, LoadOptions, Net};

use crate::{
    recorded::head,
    support::Relay,
    watch::{advance, held_clock},
};

/// Account that nobody has heard of.
async fn stranger(net: &Net, name: &str) -> Result<Account> {
    let silent = AccountOptions { announced: false, ..AccountOptions::default() };
    net.pds("alpha").await?.account_with(name, silent).await
}

/// RES-1, RES-2, PLC-3, DESIGN 10.7: answers that say nothing about the identity – refusals with and
/// without `Retry-After`, errors, pages, 5 MB, half a document, a redirect – let the events wait; when the
/// right document comes they are all out, and meanwhile known accounts went on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_say_nothing_let_events_wait() -> Result<()> {
    let (net, clock) = (Net::seeded(471).await?, held_clock());
    let options = LoadOptions { hosts: 2, accounts: 20, records: 5, ..LoadOptions::default() };
    let mut load = Load::prepare(&net, options).await?;
    net.pds("alpha").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    load.send(300).await?;
    relay.settled(&net).await?;
    // A port at which nobody listens.
    let elsewhere = "http://127.0.0.1:1/".to_owned();
    let answers = [
        Answer::TooMany { retry_after: 2 },
        Answer::Status(429),
        Answer::Status(500),
        Answer::Html,
        Answer::Oversized,
        Answer::Huge,
        Answer::Truncated,
        Answer::Redirect(elsewhere),
    ];

    // One after the other: what waits for ten minutes is dropped.
    let mut waited = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        let account = stranger(&net, &format!("waits-{number}")).await?;
        net.plc().answer(&account, answer.clone());
        account.post("first").await?;
        account.post("second").await?;
        relay
            .until(&format!("{answer:?} was answered"), || {
                // After a 429 nobody asks for a while.
                advance(&clock, 1);
                net.plc().lookups(&account) > 0
            })
            .await?;
        let known = head(&relay);
        load.send(25).await?;
        relay.until("known accounts go on", || head(&relay) >= known + 20).await?;
        ensure!(watch.of(&account).is_empty(), "{answer:?}: it came out");
        net.plc().answer(&account, Answer::Document);
        relay.settled_in_time(&net, &clock).await?;
        waited.push(account);
    }

    relay.proved(&net, &mut watch).await?;
    for (account, answer) in waited.iter().zip(&answers) {
        let (out, drops) = (watch.of(account), relay.drops(account));
        ensure!(out == ["commit"; 2], "{answer:?}: {out:?}, {drops:?}");
    }
    Ok(())
}

/// DOC-1, RES-2: a document of somebody else is none; the account is asked for again later, and is well
/// by itself when the directory is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_another_account_is_none() -> Result<()> {
    let (net, clock) = (Net::seeded(472).await?, held_clock());
    net.pds("alpha").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    let alice = stranger(&net, "alice").await?;
    net.plc().answer(&alice, Answer::WrongId);

    alice.post("under a wrong document").await?;
    relay.settled_in_time(&net, &clock).await?;
    ensure!(relay.drops(&alice) == [DropReason::IdentityInvalid], "{:?}", relay.drops(&alice));

    net.plc().answer(&alice, Answer::Document);
    // As long as such an answer is believed.
    advance(&clock, 20 * 60);
    alice.post("under the right one").await?;
    relay.settled_in_time(&net, &clock).await?;
    relay.proved(&net, &mut watch).await?;
    ensure!(watch.of(&alice) == ["commit"], "{:?}", watch.of(&alice));
    Ok(())
}
