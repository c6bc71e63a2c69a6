//! The last changes of each host, with the hosts that they belong to.

use super::{
    Db, HostRow, Store, StoreError,
    db::{CHUNK_ROWS, Row, Statement, Tx, Value},
    hosts,
};
use crate::domain::{Actor, HOST_CHANGES_MAX, HostChange, HostChangeKind, HostId};

impl Store {
    /// [`Self::save_hosts`], and what changed about them, in one transaction.
    ///
    /// * `changes` – host, number of the change among those of this host, and the change itself; of
    ///   one host at most [`HOST_CHANGES_MAX`]
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn save_hosts_with(
        &self,
        hosts: &[HostRow],
        changes: &[(HostId, u64, HostChange)],
    ) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        hosts::save(&mut tx, hosts).await?;
        record(&mut tx, changes).await?;
        tx.commit().await
    }

    /// The last changes of a host, newest first; of them [`HOST_CHANGES_MAX`] are kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn host_changes(&self, host: HostId) -> Result<Vec<HostChange>, StoreError> {
        of_host(self.db(), host).await
    }
}

async fn record(tx: &mut Tx, changes: &[(HostId, u64, HostChange)]) -> Result<(), StoreError> {
    let sql = "INSERT INTO relay_host_change \
               (host, slot, number, at_ms, what, value_before, value_after, reason, actor) \
               VALUES {rows} ON CONFLICT (host, slot) DO UPDATE SET number = excluded.number, \
               at_ms = excluded.at_ms, what = excluded.what, \
               value_before = excluded.value_before, value_after = excluded.value_after, \
               reason = excluded.reason, actor = excluded.actor";
    let rows: Vec<Vec<Value>> = changes
        .iter()
        .map(|(host, number, change)| {
            vec![
                host.0.into(),
                (number % HOST_CHANGES_MAX).into(),
                (*number).into(),
                change.at_ms.into(),
                change.kind.as_text().into(),
                Value::Text(Some(hosts::kept(&change.before))),
                Value::Text(Some(hosts::kept(&change.after))),
                Value::Text(Some(hosts::kept(&change.reason))),
                Value::Text(Some(change.actor.to_string())),
            ]
        })
        .collect();
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    Ok(())
}

async fn of_host(db: &Db, host: HostId) -> Result<Vec<HostChange>, StoreError> {
    let sql = "SELECT at_ms, what, value_before, value_after, reason, actor \
               FROM relay_host_change WHERE host = $1 ORDER BY number DESC";
    let rows = db.fetch(Statement::new(sql, vec![host.0.into()])).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<HostChange, StoreError> {
    let (what, actor) = (row.text(1)?, row.text(5)?);
    Ok(HostChange {
        at_ms: row.number(0)?,
        kind: HostChangeKind::from_text(&what)
            .ok_or_else(|| StoreError::Damaged(format!("unknown change `{what}` of a host")))?,
        before: row.text(2)?,
        after: row.text(3)?,
        reason: row.text(4)?,
        actor: Actor::from_text(&actor)
            .ok_or_else(|| StoreError::Damaged(format!("unknown actor `{actor}`")))?,
    })
}
