//! Domains whose hosts are not read.

use super::{
    Store, StoreError,
    db::{Row, Statement, Value},
    hosts,
};
use crate::domain::{Actor, DomainBan};

impl Store {
    /// All bans of domains, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn domain_bans(&self) -> Result<Vec<DomainBan>, StoreError> {
        let sql = "SELECT domain, at_ms, actor, note FROM relay_domain_ban ORDER BY domain";
        let rows = self.db().fetch(Statement::new(sql, Vec::new())).await?;
        rows.iter().map(read).collect()
    }

    /// Bans a domain, or replaces the ban that is there. Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn ban_domain(&self, ban: &DomainBan) -> Result<(), StoreError> {
        let sql = "INSERT INTO relay_domain_ban (domain, at_ms, actor, note) \
                   VALUES ($1, $2, $3, $4) ON CONFLICT (domain) DO UPDATE SET \
                   at_ms = excluded.at_ms, actor = excluded.actor, note = excluded.note";
        let values = vec![
            ban.domain.as_str().into(),
            ban.at_ms.into(),
            Value::Text(Some(ban.actor.to_string())),
            Value::Text(Some(hosts::kept(&ban.note))),
        ];
        let mut tx = self.db().begin().await?;
        tx.execute(Statement::new(sql, values)).await?;
        tx.commit().await
    }

    /// Ends the ban of a domain; gives whether there was one. Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn unban_domain(&self, domain: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM relay_domain_ban WHERE domain = $1";
        let mut tx = self.db().begin().await?;
        let gone = tx.execute(Statement::new(sql, vec![domain.into()])).await?;
        tx.commit().await?;
        Ok(gone > 0)
    }
}

fn read(row: &Row) -> Result<DomainBan, StoreError> {
    let actor = row.text(2)?;
    Ok(DomainBan {
        domain: row.text(0)?,
        at_ms: row.number(1)?,
        actor: Actor::from_text(&actor)
            .ok_or_else(|| StoreError::Damaged(format!("unknown actor `{actor}`")))?,
        note: row.text(3)?,
    })
}
