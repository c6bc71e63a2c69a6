//! Accounts that are held because their host has more of them than it may (ACC-9).

use relay_protocol::Did;

use super::{
    Store, StoreError,
    accounts::{did_bytes, did_from_bytes, host_from, host_value},
    db::{CHUNK_ROWS, Statement, Value},
};
use crate::domain::{HostId, LocalStatus};

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
        let sql = "UPDATE relay_decision SET local = 'none', pending = 1, over_limit = 0 \
                   WHERE did = $1 AND local = 'throttled' AND over_limit = 1";
        let mut tx = self.db().begin().await?;
        let changed = tx.execute(Statement::new(sql, vec![did_bytes(did).into()])).await?;
        tx.commit().await?;
        Ok(changed > 0)
    }
}
