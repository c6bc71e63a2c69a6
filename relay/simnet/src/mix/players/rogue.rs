//! An account of an adversary, whose repository stays as large as it is.

use crate::{Account, AccountOptions, Fault, Pds, Write};
use anyhow::{Context, Result};
use ipld_core::ipld::Ipld;
use std::collections::VecDeque;

/// Records of each: enough for a tree of some layers.
const RECORDS: usize = 30;

/// An account and what it holds, the oldest record first.
#[derive(Debug)]
pub(super) struct Rogue {
    pub(super) account: Account,
    paths: VecDeque<String>,
    number: u64,
}

impl Rogue {
    pub(super) async fn join(host: &Pds, name: &str, options: AccountOptions) -> Result<Self> {
        let account = host.account_with(name, options).await?;
        let mut rogue = Self { account, paths: VecDeque::new(), number: 0 };
        let writes = (0..RECORDS).map(|_| rogue.create()).collect();
        rogue.account.apply(writes).await?;
        Ok(rogue)
    }

    fn create(&mut self) -> Write {
        self.number += 1;
        let path = format!("com.example.note/{:010}", self.number);
        self.paths.push_back(path.clone());
        Write::create(path, note(self.number))
    }

    /// One commit with an operation of every kind, so that any fault of a commit can strike.
    pub(super) async fn change(&mut self, fault: Option<Fault>) -> Result<()> {
        let create = self.create();
        let oldest = self.paths.pop_front().context("a record to delete")?;
        let updated = self.paths.get(RECORDS / 2).context("a record to update")?.clone();
        let update = Write::update(updated, note(self.number + 1_000_000_000));
        let account = match fault {
            Some(fault) => self.account.with(fault),
            None => self.account.clone(),
        };
        account.apply(vec![create, update, Write::delete(oldest)]).await?;
        Ok(())
    }
}

fn note(number: u64) -> Ipld {
    let fields = [
        ("$type".to_owned(), Ipld::String("com.example.note".to_owned())),
        ("number".to_owned(), Ipld::Integer(i128::from(number))),
    ];
    Ipld::Map(fields.into())
}
