//! A page of a list: all methods that list hosts or accounts give entries and a cursor (ACC-10, HOST-13).
//! Pure.

use serde_json::Value;

/// A page of accounts.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What could be read of its entries.
    pub entries: Vec<T>,
    /// Entries that are no accounts.
    pub strange: u64,
    /// What to ask the next page with; `None` on the last.
    pub next: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), strange: 0, next: None }
    }
}

impl<T> Page<T> {
    /// Reads the answer of `listRepos` or `listReposByCollection`; a strange entry is counted and does no
    /// harm to the others.
    ///
    /// * `entry` – reads an entry; `None` of a strange one
    ///
    /// # Errors
    /// What is wrong, when it is no such answer.
    pub fn read(json: &[u8], entry: impl Fn(&Value) -> Option<T>) -> Result<Self, String> {
        let (listed, next) = list(json, ("repos", "accounts"))?;
        let mut page = Self { next, ..Self::default() };
        for listed in &listed {
            match entry(listed) {
                Some(entry) => page.entries.push(entry),
                None => page.strange += 1,
            }
        }
        Ok(page)
    }
}

/// The entries of an answer that lists something, and its cursor if it is not the last.
///
/// * `field` – where they are
/// * `things` – what they are, for a person
///
/// # Errors
/// What is wrong, when it is no such answer.
pub(super) fn list(
    json: &[u8],
    (field, things): (&str, &str),
) -> Result<(Vec<Value>, Option<String>), String> {
    let Ok(mut answer) = serde_json::from_slice::<Value>(json) else {
        return Err(format!("its list of {things} is not JSON"));
    };
    let next = answer.get("cursor").and_then(Value::as_str).filter(|text| !text.is_empty());
    let next = next.map(ToOwned::to_owned);
    match answer.get_mut(field).map(Value::take) {
        Some(Value::Array(entries)) => Ok((entries, next)),
        _ => Err(format!("its answer is no list of {things}")),
    }
}
