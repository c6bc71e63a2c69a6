//! Frames with a bit turned, cut off or prolonged at every place (I6, SEC-6).

use anyhow::Result;
use relay_simnet::{Ipld, Write, block::map};

use super::scene::{
    Event, NOTHING_NEW, Scene,
    Told::{self, Passes},
    told,
};
use crate::{
    domain::EventKind,
    ingest::{judge::Asked, verdict::Stop},
};

/// A commit of three operations over a grown repo, and one event of each other kind.
async fn events(scene: &mut Scene) -> Result<Vec<Event>> {
    let record = |words: &str| map([("text", Ipld::from(words))]);
    let path = |number: usize| format!("com.example.thing/{number:03}");
    let many = (0..40).map(|number| Write::create(path(number), record("same"))).collect();
    scene.alice.apply(many).await?;
    let grown = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.take(&grown), Passes);
    let three = vec![
        Write::create(path(40), record("new")),
        Write::update(path(7), record("changed")),
        Write::delete(path(20)),
    ];
    scene.alice.apply(three).await?;
    scene.alice.sync().await?;
    scene.alice.identity(Some("alice.test")).await?;
    scene.alice.announce_status(false, Some("deactivated")).await?;
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(scene.next().await?);
    }
    Ok(events)
}

fn with_frame(event: &Event, frame: Vec<u8>) -> Event {
    Event { frame: frame.into(), ..event.clone() }
}

/// I6, VAL-9, VAL-10: whatever bit is turned, judging gives a verdict; and if the event still passes, the
/// state it leads to is the one that its owner signed.
#[tokio::test]
async fn a_turned_bit_never_leads_to_another_state() -> Result<()> {
    let mut scene = Scene::new().await?;
    let events = events(&mut scene).await?;
    scene.asked = Asked { identity: Some(NOTHING_NEW), status: true };
    for event in &events {
        let signed = scene.judge(event).unwrap().repo;
        let mut passed = 0;
        for at in 0..event.frame.len() {
            let mut frame = event.frame.to_vec();
            // Each bit of a byte is turned at some place of its kind.
            frame[at] ^= 1 << (at * 5 % 8);
            let turned = with_frame(event, frame);
            match scene.judge(&turned) {
                Ok(pass) => {
                    assert_eq!(pass.repo, signed, "{} byte {at}", event.kind.name());
                    passed += 1;
                }
                Err(Stop::Drop(..)) => {}
                Err(stop) => panic!("{} byte {at}: {stop:?}", event.kind.name()),
            }
        }
        assert!(passed > 0, "control: a turned bit in the time of {} passes", event.kind.name());
        if signed.is_some() {
            assert!(passed < event.frame.len() / 2, "{passed} of {}", event.frame.len());
        }
    }
    Ok(())
}

/// I6, ENC-7: a frame that ends early or late is never taken.
#[tokio::test]
async fn a_frame_of_another_length_is_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    let events = events(&mut scene).await?;
    scene.asked = Asked { identity: Some(NOTHING_NEW), status: true };
    for event in &events {
        assert_eq!(scene.told(event), Passes, "control: {}", event.kind.name());
        for length in 0..event.frame.len() {
            let cut = with_frame(event, event.frame[..length].to_vec());
            let told = told(&scene.judge(&cut));
            assert!(matches!(told, Told::Drops(_)), "{} cut to {length}", event.kind.name());
        }
        let long = with_frame(event, [&event.frame[..], &[0]].concat());
        assert!(matches!(scene.told(&long), Told::Drops(_)), "{}", event.kind.name());
    }
    Ok(())
}
