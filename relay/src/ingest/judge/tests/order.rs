//! Cheap checks come before dear ones (SEC-6), and nothing that is dropped changes anything (I2, I7).

use anyhow::Result;
use relay_simnet::{Fault, Ipld};

use super::scene::{
    ALPHA, BETA, NOTHING_NEW, Scene,
    Told::{Asks, Drops, Holds, Passes, Waits},
};
use crate::{
    accounts::levels::{AccountTurn, Exceeded},
    domain::{DropReason, EventKind, LocalStatus, UpstreamStatus},
    ingest::verdict::Ask,
};

/// SEC-6: of two faults the one is told that is found with less work: decoding, host, status and rev
/// before the CAR, the commit object before the signature, the signature before records and tree.
#[tokio::test]
async fn of_two_faults_the_cheaper_check_tells() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.now_us = relay_simnet::clock::wall_micros();
    scene.row().identity_checked_ms = scene.now_us / 1000;
    scene.asked.identity = Some(NOTHING_NEW);
    for (cheap, dear, reason) in [
        (Fault::TooManyOps, Fault::StaleRev, DropReason::Oversized),
        (Fault::StaleRev, Fault::TruncatedCar, DropReason::Stale),
        (Fault::StaleRev, Fault::WrongKey, DropReason::Stale),
        (Fault::FutureRev, Fault::TruncatedCar, DropReason::FutureRev),
        (Fault::TruncatedCar, Fault::WrongKey, DropReason::BadCommit),
        (Fault::CommitCidMismatch, Fault::WrongVersion, DropReason::CommitMismatch),
        (Fault::DidMismatch, Fault::WrongKey, DropReason::CommitMismatch),
        (Fault::WrongKey, Fault::OpWithoutCid, DropReason::BadSignature),
        (Fault::WrongKey, Fault::MissingRecord, DropReason::BadSignature),
        (Fault::WrongKey, Fault::WrongPrevData, DropReason::BadSignature),
        (Fault::WrongKey, Fault::MissingNode, DropReason::BadSignature),
        (Fault::WrongKey, Fault::Legacy, DropReason::BadSignature),
        (Fault::MissingRecord, Fault::WrongPrevData, DropReason::BadRecord),
        (Fault::OpWithoutCid, Fault::WrongPrevData, DropReason::BadOps),
    ] {
        scene.alice.with(cheap).with(dear).post("wrong twice").await?;
        let event = scene.next_of(EventKind::Commit).await?;
        assert_eq!(scene.take(&event), Drops(reason), "{cheap:?} before {dear:?}");
        let right = scene.post("right").await?;
        assert_eq!(scene.take(&right), Passes, "control");
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// SEC-6: an event that its host may not send, or whose account is not active, is never looked into.
#[tokio::test]
async fn host_and_status_come_before_the_content() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.alice.with(Fault::TruncatedCar).with(Fault::WrongKey).post("nonsense").await?;
    let nonsense = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.told(&nonsense), Drops(DropReason::BadCommit), "control");

    scene.row().upstream = UpstreamStatus::Deactivated;
    assert_eq!(scene.told(&nonsense), Asks(Ask::Status));
    assert_eq!(scene.told_at_last(&nonsense), Drops(DropReason::AccountInactive));
    scene.row().local = LocalStatus::Takendown;
    assert_eq!(scene.told(&nonsense), Drops(DropReason::LocallyInactive));
    scene.from = BETA;
    assert_eq!(scene.told(&nonsense), Asks(Ask::Host));
    assert_eq!(scene.told_at_last(&nonsense), Drops(DropReason::WrongHost));
    Ok(())
}

/// HOST-12, SEC-6: the limits of an account come after its host, its status and its rev, so that neither
/// strangers nor repeats use them up, and before all that costs work. A change of status may wait and is
/// never lost.
#[tokio::test]
async fn the_limits_of_an_account_come_before_the_work() -> Result<()> {
    let mut scene = Scene::new().await?;
    let repeat = scene.post("sent twice").await?;
    assert_eq!(scene.take(&repeat), Passes);
    scene.alice.with(Fault::TruncatedCar).post("nonsense").await?;
    let nonsense = scene.next_of(EventKind::Commit).await?;
    scene.alice.sync().await?;
    let sync = scene.next_of(EventKind::Sync).await?;
    scene.alice.announce_status(true, None).await?;
    let status = scene.next_of(EventKind::Account).await?;
    let exceeded = Exceeded { limit: 1, span: "hour" };
    for (turn, told) in [(AccountTurn::After(1), Waits), (AccountTurn::Over(exceeded), Holds)] {
        scene.turn = turn;
        assert_eq!(scene.told(&nonsense), told);
        assert_eq!(scene.told(&sync), told);
        assert_eq!(scene.told(&repeat), Drops(DropReason::Stale));
        scene.from = BETA;
        assert_eq!(scene.told_at_last(&nonsense), Drops(DropReason::WrongHost));
        scene.from = ALPHA;
    }
    assert_eq!(scene.told(&status), Passes);
    scene.turn = AccountTurn::After(1);
    assert_eq!(scene.told(&status), Waits);
    Ok(())
}

/// Every fault of the simulated hosts that reaches the judge has one of the outcomes that the
/// simulation's own table names for it; a fault that is missing here is missing there.
#[tokio::test]
async fn every_fault_has_the_outcome_that_the_simulation_expects() -> Result<()> {
    use relay_simnet::{Kind, adversary::Stage};
    let mut scene = Scene::new().await?;
    scene.now_us = relay_simnet::clock::wall_micros();
    scene.row().identity_checked_ms = scene.now_us / 1000;
    scene.asked.identity = Some(NOTHING_NEW);
    let of_the_stream = |fault: &&Fault| !matches!(fault, Fault::SeqRepeated | Fault::SeqBackwards);
    let mut judged = 0;
    for fault in Fault::ALL.iter().filter(of_the_stream) {
        let record = relay_simnet::block::map([("number", judged.into())]);
        if fault.strikes(Kind::Commit) {
            let path = format!("com.example.thing/{judged}");
            let first = vec![relay_simnet::Write::create(&path, record.clone())];
            scene.alice.apply(first).await?;
            let first = scene.next_of(EventKind::Commit).await?;
            assert_eq!(scene.take(&first), Passes, "control before {fault:?}");
            let record = relay_simnet::block::map([("number", Ipld::Integer(-1 - judged))]);
            let writes = vec![relay_simnet::Write::update(&path, record)];
            scene.alice.with(*fault).apply(writes).await?;
        } else {
            scene.alice.with(*fault).sync().await?;
        }
        let event = scene.next().await?;
        let told = scene.take(&event);
        match (told, fault.stage()) {
            (Passes, stage) => assert_eq!(stage, Stage::Passes, "{fault:?} passes"),
            (Drops(reason), _) => {
                assert!(fault.reasons().contains(&reason.label()), "{fault:?}: {reason:?}");
            }
            (other, _) => panic!("{fault:?}: {other:?}"),
        }
        judged += 1;
    }
    assert!(judged > 40, "{judged} faults");
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}
