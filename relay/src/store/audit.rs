//! What operators did: one row per action, begun before it and completed after it.
//!
//! Bounded by number and by age; the oldest rows go first. Written durably, so that the answer of a
//! changing request means that its row is there.

use super::{
    Store, StoreError,
    db::{Row, Statement, Tx, Value},
    outbox::{self, Letter},
};

/// Rows kept at most: some years of a busy moderation desk, about 50 MB.
const ROWS_MAX: u64 = 200_000;
/// Longest time that a row is kept.
const AGE_MAX_MS: u64 = 2 * 366 * 24 * 3_600 * 1_000;
/// Old rows are looked for once in so many.
const TRIM_EVERY: u64 = 256;
/// Longest text of a column, in characters; what a row says is for people.
const TEXT_CHARS_MAX: usize = 4_000;

/// An action that is about to be done.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// When, ms since 1970.
    pub at_ms: u64,
    /// Who.
    pub actor: &'a str,
    /// Address of the client, empty when it was no request.
    pub client: &'a str,
    /// What, as `account.takeDown`.
    pub action: &'a str,
    /// To whom: a DID, a host, a domain.
    pub subject: &'a str,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Number; later ones are higher.
    pub id: u64,
    /// When, ms since 1970.
    pub at_ms: u64,
    /// Who.
    pub actor: String,
    /// From where; empty when it was no request.
    pub client: String,
    /// What.
    pub action: String,
    /// To whom.
    pub subject: String,
    /// State before, as JSON; empty when unknown.
    pub before: String,
    /// State after, as JSON; empty when unknown.
    pub after: String,
    /// `begun` until it ended, then `done`, or why it was refused. A row that stays `begun` is of a
    /// process that died in between.
    pub outcome: String,
}

/// Which rows to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditFilter<'a> {
    /// Only rows with a lower number.
    pub before: Option<u64>,
    /// Only of this subject.
    pub subject: Option<&'a str>,
    /// Only this action.
    pub action: Option<&'a str>,
}

impl Store {
    /// Notes that an action begins; gives the number of its row. Durable.
    ///
    /// # Errors
    /// [`StoreError`]; then the action must not be done.
    pub async fn audit_begin(&self, begun: Begun<'_>) -> Result<u64, StoreError> {
        let _alone = self.shared.noting.lock().await;
        let mut tx = self.db().begin().await?;
        let id = next_id(&mut tx, "SELECT max(id) FROM relay_audit").await?;
        let sql = "INSERT INTO relay_audit (id, at_ms, actor, client, action, subject, outcome) \
                   VALUES ($1, $2, $3, $4, $5, $6, 'begun')";
        let values = vec![
            id.into(),
            begun.at_ms.into(),
            text(begun.actor),
            text(begun.client),
            text(begun.action),
            text(begun.subject),
        ];
        tx.execute(Statement::new(sql, values)).await?;
        if id.is_multiple_of(TRIM_EVERY) {
            let sql = "DELETE FROM relay_audit WHERE id <= $1 OR at_ms < $2";
            let (oldest, since) =
                (id.saturating_sub(ROWS_MAX), begun.at_ms.saturating_sub(AGE_MAX_MS));
            tx.execute(Statement::new(sql, vec![oldest.into(), since.into()])).await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Completes a row, and with it lays down what sibling relays are to be told. All or nothing.
    ///
    /// # Errors
    /// [`StoreError`]; the row stays `begun` then, and nobody is told.
    pub async fn audit_end(
        &self,
        id: u64,
        (before, after): (&str, &str),
        outcome: &str,
        letters: &[Letter],
    ) -> Result<(), StoreError> {
        let _alone = self.shared.noting.lock().await;
        let mut tx = self.db().begin().await?;
        let sql = "UPDATE relay_audit SET was = $2, became = $3, outcome = $4 WHERE id = $1";
        let values = vec![id.into(), text(before), text(after), text(outcome)];
        tx.execute(Statement::new(sql, values)).await?;
        outbox::put(&mut tx, letters).await?;
        tx.commit().await
    }

    /// Rows, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit(
        &self,
        filter: AuditFilter<'_>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = "SELECT id, at_ms, actor, client, action, subject, was, became, outcome \
                   FROM relay_audit WHERE id < $1 AND ($2 = '' OR subject = $2) \
                   AND ($3 = '' OR action = $3) ORDER BY id DESC LIMIT $4";
        let values = vec![
            filter.before.map_or(i64::MAX, u64::cast_signed).into(),
            text(filter.subject.unwrap_or_default()),
            text(filter.action.unwrap_or_default()),
            limit.into(),
        ];
        let rows = self.db().fetch(Statement::new(sql, values)).await?;
        rows.iter().map(read).collect()
    }
}

/// The next number of a table; the caller sees to it that nobody else asks meanwhile.
pub(super) async fn next_id(tx: &mut Tx, sql: &'static str) -> Result<u64, StoreError> {
    let rows = tx.fetch(Statement::new(sql, Vec::new())).await?;
    let last = rows.first().map(|row| row.maybe_int(0)).transpose()?.flatten().unwrap_or(0);
    Ok(last.cast_unsigned().saturating_add(1))
}

/// Cut, and without NUL, which is no text for Postgres.
pub(super) fn text(text: &str) -> Value {
    Value::Text(Some(text.chars().filter(|c| *c != '\0').take(TEXT_CHARS_MAX).collect()))
}

fn read(row: &Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.number(0)?,
        at_ms: row.number(1)?,
        actor: row.text(2)?,
        client: row.text(3)?,
        action: row.text(4)?,
        subject: row.text(5)?,
        before: row.text(6)?,
        after: row.text(7)?,
        outcome: row.text(8)?,
    })
}
