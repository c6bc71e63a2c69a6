//! What events make of the index.

mod gaps;

use bytes::Bytes;
use relay_simnet::{Account as Simulated, AccountOptions, Consumer, Ipld, Kind, Net, Start, Write};

use super::*;
use crate::{
    collections::index::{Options, PairState},
    domain::{Epoch, EventKind, HostId, HostSeq},
};

const ALICE: AccountNo = AccountNo(1);
/// Notes of records: version 1, and that a commit breaks with what was known, or a sync does not.
const BREAKS: &[u8] = &[1, 16];
const SAME_DATA: &[u8] = &[1, 32];

fn index(dir: &tempfile::TempDir) -> Index {
    let options = Options { memory_bytes: 16 << 20 };
    Index::open(&dir.path().join("collections"), options).unwrap()
}

fn event(frame: &Bytes, kind: Kind, note: &'static [u8]) -> Event {
    Event {
        seq: Seq(1),
        time_us: 1,
        kind: match kind {
            Kind::Commit => EventKind::Commit,
            Kind::Sync => EventKind::Sync,
            Kind::Identity => EventKind::Identity,
            Kind::Account => EventKind::Account,
        },
        account: ALICE,
        host: HostId(1),
        epoch: Epoch(0),
        host_seq: HostSeq(1),
        note: Bytes::from_static(note),
        frame: frame.clone(),
    }
}

/// What the index says of Alice.
fn known(index: &Index) -> (Whole, Vec<String>) {
    let (whole, pairs) = index.of_account(ALICE).unwrap();
    let mut names: Vec<String> = pairs
        .into_iter()
        .map(|(number, state)| {
            assert_eq!(state, PairState::Proven);
            index.nsid(number).unwrap().to_string()
        })
        .collect();
    names.sort();
    (whole, names)
}

/// Alice at a host, and what the host sends of her.
struct Scene {
    _net: Net,
    alice: Simulated,
    stream: Consumer,
    dir: tempfile::TempDir,
    index: Index,
}

impl Scene {
    async fn new() -> Self {
        let net = Net::seeded(91).await.unwrap();
        let pds = net.pds("alpha").await.unwrap();
        let silent = AccountOptions { announced: false, ..AccountOptions::default() };
        let alice = pds.account_with("alice", silent).await.unwrap();
        let stream = Consumer::connect(&pds.url(), Start::After(0)).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let index = index(&dir);
        Self { _net: net, alice, stream, dir, index }
    }

    /// The next event of Alice, brought into the index.
    async fn take(&mut self, note: &'static [u8]) -> (Whole, Vec<String>) {
        let received = self.stream.next_for(self.alice.did()).await.unwrap();
        self.apply(&event(&received.frame, received.kind, note))
    }

    fn apply(&self, event: &Event) -> (Whole, Vec<String>) {
        let changes = read(&self.index, std::slice::from_ref(event)).unwrap();
        self.index.apply(&Batch { changes, ..Batch::default() }).unwrap();
        known(&self.index)
    }

    /// Records in so many collections, that the tree has more nodes than a proof shows.
    async fn grow(&self, collections: u32) {
        let record = || Ipld::Map(BTreeMap::new());
        for round in 0..4 {
            let writes = (0..collections)
                .map(|name| Write::create(format!("com.example.kind{name:03}/{round}"), record()));
            self.alice.apply(writes.collect()).await.unwrap();
        }
    }
}

fn unsure(doubt: Doubt) -> Whole {
    Whole::Unsure(doubt)
}

/// A repository seen from its first commit on is known in full, whatever its later proofs show.
#[tokio::test]
async fn a_repository_that_is_seen_from_its_first_commit_on_is_known_in_full() {
    let mut scene = Scene::new().await;
    scene.grow(40).await;
    let names: Vec<String> = (0..40).map(|name| format!("com.example.kind{name:03}")).collect();
    let mut last = (Whole::Unmarked, Vec::new());
    for commit in 0..4 {
        last = scene.take(if commit == 0 { BREAKS } else { &[] }).await;
        assert_eq!(last, (Whole::Complete, names.clone()), "commit {commit}");
    }
    for round in 0..4 {
        scene.alice.delete(&format!("com.example.kind007/{round}")).await.unwrap();
        last = scene.take(&[]).await;
    }
    let left: Vec<String> = names.into_iter().filter(|name| !name.ends_with("007")).collect();
    assert_eq!(last, (Whole::Complete, left));
}

/// What the stream cannot show makes an account unsure, and says why; what it shows stays.
#[tokio::test]
async fn what_the_stream_does_not_show_makes_an_account_unsure() {
    let mut scene = Scene::new().await;
    scene.grow(40).await;
    let mut frames = Vec::new();
    for _ in 0..4 {
        frames.push(scene.stream.next_for(scene.alice.did()).await.unwrap());
    }
    let last = frames.last().unwrap();

    // The first that we see is the fourth commit.
    let (whole, names) = scene.apply(&event(&last.frame, last.kind, BREAKS));
    assert_eq!(whole, unsure(Doubt::OlderRecords));
    assert_eq!(names.len(), 40, "it wrote in all of them");

    // Its host was asked meanwhile.
    let all = scene.index.of_account(ALICE).unwrap().1;
    let collections = all.into_iter().map(|(number, _)| number).collect();
    let answer = Change::Replace { account: ALICE, collections };
    scene.index.apply(&Batch { changes: vec![answer], ..Batch::default() }).unwrap();
    scene.alice.create("com.example.more", "a", Ipld::Map(BTreeMap::new())).await.unwrap();
    assert_eq!(scene.take(&[]).await.0, Whole::Complete);

    scene.alice.post_in_silence("unseen").await.unwrap();
    scene.alice.create("com.example.more", "b", Ipld::Map(BTreeMap::new())).await.unwrap();
    assert_eq!(scene.take(BREAKS).await.0, unsure(Doubt::Discontinuity));

    let complete = || {
        let all = scene.index.of_account(ALICE).unwrap().1;
        let collections = all.into_iter().map(|(number, _)| number).collect();
        Batch { changes: vec![Change::Replace { account: ALICE, collections }], ..Batch::default() }
    };
    scene.index.apply(&complete()).unwrap();
    scene.alice.sync().await.unwrap();
    let sync = scene.stream.next_for(scene.alice.did()).await.unwrap();
    assert_eq!(scene.apply(&event(&sync.frame, sync.kind, SAME_DATA)).0, Whole::Complete);
    assert_eq!(scene.apply(&event(&sync.frame, sync.kind, &[])).0, unsure(Doubt::Sync));

    // A commit that proves nothing, which passes where a host is spared.
    let complete = complete();
    scene.index.apply(&complete).unwrap();
    let spoilt = scene.alice.with(relay_simnet::Fault::WrongPrevData);
    spoilt.create("com.example.more", "c", Ipld::Map(BTreeMap::new())).await.unwrap();
    assert_eq!(scene.take(&[]).await.0, unsure(Doubt::Lenient));
}

/// An account that is deleted has nothing; one that comes back is asked for.
#[tokio::test]
async fn a_deleted_account_has_nothing_and_one_that_returns_is_unsure() {
    let mut scene = Scene::new().await;
    scene.alice.create("com.example.one", "a", Ipld::Map(BTreeMap::new())).await.unwrap();
    assert_eq!(
        scene.take(BREAKS).await,
        (Whole::Complete, vec!["com.example.one".to_owned()]),
        "a small tree is shown as a whole"
    );
    scene.alice.deactivate().await.unwrap();
    let (whole, names) = scene.take(&[]).await;
    assert_eq!((whole, names.len()), (unsure(Doubt::Inactive), 1), "it may come back");
    scene.alice.delete_account().await.unwrap();
    assert_eq!(scene.take(&[]).await, (Whole::Gone, Vec::new()));
    scene.alice.set_status(true, None).await.unwrap();
    assert_eq!(scene.take(&[]).await, (unsure(Doubt::Discontinuity), Vec::new()));
    drop(scene.dir);
}

/// A frame that is no frame proves nothing, and changes nothing but that.
#[tokio::test]
async fn a_frame_that_cannot_be_read_proves_nothing() {
    let scene = Scene::new().await;
    let noise = Bytes::from_static(b"\xa2\x61t\x61#noise");
    assert_eq!(scene.apply(&event(&noise, Kind::Commit, &[])).0, unsure(Doubt::Lenient));
}
