//! What sibling relays are still to be told: durable until they have taken it.

use super::{
    Store, StoreError,
    audit::{next_id, text},
    db::{CHUNK_ROWS, Statement, Tx, Value},
};

/// A request that a sibling relay is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Number, given when it is laid down; 0 before.
    pub id: u64,
    /// Address of the relay, as the setting has it.
    pub sibling: String,
    /// When it was made, ms since 1970.
    pub at_ms: u64,
    /// Path and query of a POST.
    pub target: String,
    /// Its body as JSON; empty when it has none.
    pub body: String,
}

impl Store {
    /// Lays down letters outside of an action. Durable.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was laid down then.
    pub async fn put_letters(&self, letters: &[Letter]) -> Result<(), StoreError> {
        let _alone = self.shared.noting.lock().await;
        let mut tx = self.db().begin().await?;
        put(&mut tx, letters).await?;
        tx.commit().await
    }

    /// Letters for a sibling, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn letters(&self, sibling: &str, limit: u32) -> Result<Vec<Letter>, StoreError> {
        let sql = "SELECT id, at_ms, target, body FROM relay_outbox WHERE sibling = $1 \
                   ORDER BY id LIMIT $2";
        let rows = self.db().fetch(Statement::new(sql, vec![text(sibling), limit.into()])).await?;
        rows.iter()
            .map(|row| {
                Ok(Letter {
                    id: row.number(0)?,
                    sibling: sibling.to_owned(),
                    at_ms: row.number(1)?,
                    target: row.text(2)?,
                    body: row.text(3)?,
                })
            })
            .collect()
    }

    /// How many letters wait for a sibling, and when the oldest was made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn letters_waiting(&self, sibling: &str) -> Result<(u64, Option<u64>), StoreError> {
        let sql = "SELECT count(*), min(at_ms) FROM relay_outbox WHERE sibling = $1";
        let rows = self.db().fetch(Statement::new(sql, vec![text(sibling)])).await?;
        let Some(row) = rows.first() else { return Ok((0, None)) };
        Ok((row.number(0)?, row.maybe_int(1)?.map(i64::cast_unsigned)))
    }

    /// A letter was taken, or never will be.
    ///
    /// # Errors
    /// [`StoreError`]; it stays then.
    pub async fn letter_done(&self, id: u64) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        let sql = "DELETE FROM relay_outbox WHERE id = $1";
        tx.execute(Statement::new(sql, vec![id.into()])).await?;
        tx.commit().await
    }

    /// Forgets letters for relays that are no siblings any more; gives how many.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was forgotten then.
    pub async fn forget_letters_except(&self, siblings: &[String]) -> Result<u64, StoreError> {
        let mut tx = self.db().begin().await?;
        let rows = tx
            .fetch(Statement::new("SELECT DISTINCT sibling FROM relay_outbox", Vec::new()))
            .await?;
        let mut forgotten = 0;
        for row in rows {
            let sibling = row.text(0)?;
            if !siblings.contains(&sibling) {
                let sql = "DELETE FROM relay_outbox WHERE sibling = $1";
                forgotten += tx.execute(Statement::new(sql, vec![text(&sibling)])).await?;
            }
        }
        tx.commit().await?;
        Ok(forgotten)
    }
}

/// Lays down letters; a letter that says what one that waits already says is left out. The caller sees
/// to it that nobody else gives numbers meanwhile.
pub(super) async fn put(tx: &mut Tx, letters: &[Letter]) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut id = next_id(tx, "SELECT max(id) FROM relay_outbox").await?;
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(letters.len());
    for letter in letters {
        // Only the last one: between two equal ones another may undo the first.
        let sql =
            "SELECT target, body FROM relay_outbox WHERE sibling = $1 ORDER BY id DESC LIMIT 1";
        let last = tx.fetch(Statement::new(sql, vec![text(&letter.sibling)])).await?;
        if let Some(row) = last.first()
            && row.text(0)? == letter.target
            && row.text(1)? == letter.body
        {
            continue;
        }
        rows.push(vec![
            id.into(),
            text(&letter.sibling),
            letter.at_ms.into(),
            text(&letter.target),
            text(&letter.body),
        ]);
        id = id.saturating_add(1);
    }
    let sql = "INSERT INTO relay_outbox (id, sibling, at_ms, target, body) VALUES {rows}";
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    Ok(())
}
