//! Little of many accounts at once, on both databases.

use relay::domain::{AccountNo, HostId, LocalStatus, Standing, UpstreamStatus};
use relay_protocol::Did;

use super::{
    Place,
    cases::{account, write},
};

/// What decides whether accounts are listed is that of their rows and of the decisions, of accounts side by
/// side as of such that are far apart; those that are between them or do not exist are left out.
pub(crate) async fn standings_are_those_of_the_rows(place: Place) {
    let store = place.open().await;
    let mut rows = Vec::new();
    for number in (1..=40).chain([1_000, 50_000, 5_000_000_000]) {
        let mut row =
            account(number, HostId(u32::try_from(number % 3).unwrap_or(0).wrapping_sub(1)));
        row.did = match number % 4 {
            0 => Did::parse(&format!("did:web:host{number}.example.com")).unwrap(),
            _ => row.did,
        };
        row.upstream = match number % 5 {
            0 => UpstreamStatus::from_text("deactivated"),
            1 => UpstreamStatus::from_text("strange \n'words\u{1f600}"),
            _ => UpstreamStatus::Active,
        };
        rows.push(row);
    }
    write(&store, rows.clone()).await;
    for row in rows.iter_mut().filter(|row| row.number.0.is_multiple_of(7)) {
        row.local = LocalStatus::Takendown;
        store.set_local_status(&row.did, row.local).await.unwrap();
    }
    let all: Vec<Standing> = rows.into_iter().map(Standing::from).collect();
    let choose = |wanted: &dyn Fn(u64) -> bool| -> Vec<Standing> {
        all.iter().filter(|standing| wanted(standing.number.0)).cloned().collect()
    };
    let ask = async |numbers: Vec<u64>| {
        let numbers: Vec<AccountNo> = numbers.into_iter().map(AccountNo).collect();
        store.standings(&numbers).await.unwrap()
    };

    assert_eq!(ask((1..=40).collect()).await, choose(&|number| number <= 40));
    assert_eq!(
        ask((1..=40).step_by(2).collect()).await,
        choose(&|number| number <= 40 && number % 2 == 1),
        "not those between them"
    );
    assert_eq!(ask((1..=60).collect()).await, choose(&|number| number <= 40));
    assert_eq!(
        ask(vec![0, 3, 999, 1_000, 50_000, 5_000_000_000, u64::MAX >> 1]).await,
        choose(&|number| [3, 1_000, 50_000, 5_000_000_000].contains(&number))
    );
    assert_eq!(
        ask((1..=2_500).map(|number| number * 20).collect()).await,
        choose(&|number| number <= 50_000 && number % 20 == 0)
    );
    assert_eq!(ask(Vec::new()).await, []);
    store.close().await;
}

/// The numbers of accounts are those of their rows, in the order of the question; who has no row has none.
pub(crate) async fn numbers_come_in_the_order_of_the_question(place: Place) {
    let store = place.open().await;
    let mut rows: Vec<_> = (1..=2_500).map(|number| account(number, HostId(1))).collect();
    for (row, text) in rows.iter_mut().zip(["did:web:a.bc.de", "did:web:example.com%3A8080"]) {
        row.did = Did::parse(text).unwrap();
    }
    write(&store, rows.clone()).await;
    let unknown = account(9_999, HostId(1)).did;
    let mut asked: Vec<Did> = rows.iter().rev().map(|row| row.did.clone()).collect();
    asked.insert(1_000, unknown);
    let mut expected: Vec<_> = rows.iter().rev().map(|row| Some(row.number)).collect();
    expected.insert(1_000, None);

    assert_eq!(store.account_numbers(&asked).await.unwrap(), expected);
    let twice = [asked[0].clone(), asked[0].clone()];
    assert_eq!(store.account_numbers(&twice).await.unwrap(), [expected[0]; 2]);
    assert_eq!(store.account_numbers(&[]).await.unwrap(), []);
    store.close().await;
}
