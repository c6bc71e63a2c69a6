//! Accounts that are held: their host has more of them than it may (ACC-9), or they sent more than they
//! may (HOST-12, VAL-20).

use std::collections::BTreeMap;

use relay_protocol::Did;

use super::{
    Store, StoreError,
    accounts::{did_bytes, did_from_bytes, host_from, host_value},
    db::{CHUNK_ROWS, Statement, Value},
};
use crate::domain::{HeldFor, Hold, HostId, LocalStatus};

/// Rows that are held now, of accounts that their host still has.
macro_rules! held {
    ($select:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM relay_decision d JOIN relay_account a ON a.did = d.did ",
            "WHERE d.over_limit = 1 AND d.local = 'throttled' AND a.upstream <> 'deleted' ",
            $rest
        )
    };
}

impl Store {
    /// Holds accounts about which nothing else was decided; that is still to be announced. Durable at
    /// once.
    ///
    /// # Errors
    /// [`StoreError`]; none is held then.
    pub async fn hold_accounts(&self, dids: &[Did]) -> Result<(), StoreError> {
        let sql = "INSERT INTO relay_decision (did, local, pending, over_limit) VALUES {rows} \
                   ON CONFLICT (did) DO UPDATE SET local = excluded.local, pending = 1, \
                   over_limit = 1 WHERE relay_decision.local = 'none' \
                   OR relay_decision.over_limit = 1";
        let held = LocalStatus::Throttled.as_text();
        let mut rows: Vec<Vec<u8>> = dids.iter().map(did_bytes).collect();
        // Of one that is named twice the database would refuse all.
        rows.sort_unstable();
        rows.dedup();
        let mut tx = self.db().begin().await?;
        for chunk in rows.chunks(CHUNK_ROWS) {
            let values = |did: &Vec<u8>| -> Vec<Value> {
                vec![did.clone().into(), held.into(), true.into(), true.into()]
            };
            tx.execute(Statement::rows(sql, chunk.iter().map(values).collect())).await?;
        }
        tx.commit().await
    }

    /// How many accounts of each host are held, as far as their rows were written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn held_counts(&self) -> Result<Vec<(HostId, u64)>, StoreError> {
        let sql = held!("a.host, count(*)", "GROUP BY a.host");
        let rows = self.db().fetch(Statement::new(sql, Vec::new())).await?;
        rows.iter().map(|row| Ok((host_from(row.int(0)?), row.number(1)?))).collect()
    }

    /// The accounts of a host that are held, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn held_accounts(&self, host: HostId, limit: u64) -> Result<Vec<Did>, StoreError> {
        let sql = held!("d.did", "AND a.host = $1 ORDER BY a.number LIMIT $2");
        let values = vec![host_value(host), limit.into()];
        let rows = self.db().fetch(Statement::new(sql, values)).await?;
        rows.iter().map(|row| did_from_bytes(&row.bytes(0)?)).collect()
    }

    /// Releases an account that is held, which is still to be announced; gives `false` when it is not,
    /// or when an operator has decided about it since. Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; it is held as before then.
    pub async fn release_account(&self, did: &Did) -> Result<bool, StoreError> {
        let sql = "UPDATE relay_decision SET local = 'none', pending = 1, over_limit = 0, \
                   held_until_ms = 0 WHERE did = $1 AND local = 'throttled' AND over_limit > 0";
        let mut tx = self.db().begin().await?;
        let changed = tx.execute(Statement::new(sql, vec![did_bytes(did).into()])).await?;
        tx.commit().await?;
        Ok(changed > 0)
    }

    /// Holds accounts until a time, unless an operator decided about them; that is still to be announced.
    /// Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; none is held then.
    pub async fn hold_until(&self, holds: &[Hold]) -> Result<(), StoreError> {
        let sql = "INSERT INTO relay_decision (did, local, pending, over_limit, held_until_ms) \
                   VALUES {rows} ON CONFLICT (did) DO UPDATE SET local = excluded.local, pending = 1, \
                   over_limit = excluded.over_limit, held_until_ms = excluded.held_until_ms \
                   WHERE relay_decision.local = 'none' OR relay_decision.over_limit > 0";
        // Of one that is named twice the database would refuse all; the later counts.
        let rows: BTreeMap<Vec<u8>, &Hold> =
            holds.iter().map(|hold| (did_bytes(&hold.did), hold)).collect();
        let rows: Vec<Vec<Value>> = rows
            .into_iter()
            .map(|(did, hold)| {
                let held = LocalStatus::Throttled.as_text();
                let (why, until_ms) = (hold.why.code(), hold.until_ms);
                vec![did.into(), held.into(), true.into(), why.into(), until_ms.into()]
            })
            .collect();
        let mut tx = self.db().begin().await?;
        for chunk in rows.chunks(CHUNK_ROWS) {
            tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
        }
        tx.commit().await
    }

    /// Accounts whose hold is over by now, those that waited longest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due_holds(&self, now_ms: u64, limit: u64) -> Result<Vec<Did>, StoreError> {
        let sql = "SELECT did FROM relay_decision WHERE held_until_ms > 0 AND held_until_ms <= $1 \
                   AND over_limit > 0 AND local = 'throttled' ORDER BY held_until_ms LIMIT $2";
        let rows = self.db().fetch(Statement::new(sql, vec![now_ms.into(), limit.into()])).await?;
        rows.iter().map(|row| did_from_bytes(&row.bytes(0)?)).collect()
    }

    /// When the next hold is over, ms since 1970.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next_due_hold(&self) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT min(held_until_ms) FROM relay_decision WHERE held_until_ms > 0 \
                   AND over_limit > 0 AND local = 'throttled'";
        let rows = self.db().fetch(Statement::new(sql, Vec::new())).await?;
        let due = rows.first().map(|row| row.maybe_int(0)).transpose()?.flatten();
        Ok(due.map(i64::cast_unsigned))
    }

    /// Why an account is held; `None` when it is not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hold_of(&self, did: &Did) -> Result<Option<Hold>, StoreError> {
        let sql = "SELECT over_limit, held_until_ms FROM relay_decision \
                   WHERE did = $1 AND local = 'throttled'";
        let rows = self.db().fetch(Statement::new(sql, vec![did_bytes(did).into()])).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let why = HeldFor::from_code(row.number(0)?);
        let until_ms = row.number(1)?;
        Ok(why.map(|why| Hold { did: did.clone(), why, until_ms }))
    }
}
