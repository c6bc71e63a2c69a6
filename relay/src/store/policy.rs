//! What the policy file set, and what operators set for the whole relay while it ran.

use super::{
    Store, StoreError,
    audit::text,
    db::{Statement, Value},
};

/// Prefix of names in the table of named values.
const RULE: &str = "rule.";

/// One entry that the policy file set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRow {
    /// What it is: `domain`, `host`, `takedown`, ….
    pub kind: String,
    /// Whom it is about.
    pub subject: String,
    /// What the file said, in one form.
    pub value: String,
}

impl Store {
    /// All entries that the policy file set, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn policy_rows(&self) -> Result<Vec<PolicyRow>, StoreError> {
        let sql = "SELECT kind, subject, value FROM relay_policy ORDER BY kind, subject";
        let rows = self.db().fetch(Statement::new(sql, Vec::new())).await?;
        rows.iter()
            .map(|row| {
                Ok(PolicyRow { kind: row.text(0)?, subject: row.text(1)?, value: row.text(2)? })
            })
            .collect()
    }

    /// Notes that the file set this.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn policy_set(&self, row: &PolicyRow) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        let sql = "INSERT INTO relay_policy (kind, subject, value) VALUES ($1, $2, $3) \
                   ON CONFLICT (kind, subject) DO UPDATE SET value = excluded.value";
        let values = vec![text(&row.kind), text(&row.subject), text(&row.value)];
        tx.execute(Statement::new(sql, values)).await?;
        tx.commit().await
    }

    /// Notes that the file no longer sets this.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn policy_unset(&self, kind: &str, subject: &str) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        let sql = "DELETE FROM relay_policy WHERE kind = $1 AND subject = $2";
        tx.execute(Statement::new(sql, vec![text(kind), text(subject)])).await?;
        tx.commit().await
    }

    /// A rule for the whole relay that an operator set while it ran; `None` when none was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rule(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM relay_meta WHERE name = $1";
        let name = Value::Text(Some(format!("{RULE}{name}")));
        let rows = self.db().fetch(Statement::new(sql, vec![name])).await?;
        rows.first().map(|row| row.text(0)).transpose()
    }

    /// All rules whose name begins so, with their values.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rules(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        // Compared here: patterns of LIKE differ in case between the databases.
        let sql = "SELECT name, value FROM relay_meta ORDER BY name";
        let rows = self.db().fetch(Statement::new(sql, Vec::new())).await?;
        let mut found = Vec::new();
        for row in rows {
            let name = row.text(0)?;
            if let Some(rule) = name.strip_prefix(RULE).filter(|rule| rule.starts_with(prefix)) {
                found.push((rule.to_owned(), row.text(1)?));
            }
        }
        Ok(found)
    }

    /// Sets such a rule. Durable.
    ///
    /// # Errors
    /// [`StoreError`]; the rule is as before then.
    pub async fn set_rule(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        let sql = "INSERT INTO relay_meta (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let name = Value::Text(Some(format!("{RULE}{name}")));
        tx.execute(Statement::new(sql, vec![name, text(value)])).await?;
        tx.commit().await
    }
}
