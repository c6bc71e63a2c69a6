//! Account rows and decisions about accounts.
//!
//! A row is compact (DESIGN 10.4): 15 bytes for a `did:plc`, digests without their CID prefix, a
//! TID as a number. What an operator decided lives in its own table, so that a checkpoint, which
//! may carry a row from before the decision, cannot undo it.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use relay_protocol::{CommitCid, DataCid, Did, Rev};

use super::{
    Db, StoreError,
    db::{CHUNK_ROWS, Row, Statement, Tx, Value},
};
use crate::domain::{
    Account, AccountNo, Epoch, HostId, HostSeq, LastEvent, LocalStatus, RepoState, Seq,
    UpstreamStatus,
};

/// Columns in the order in which [`read`] expects them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.number, a.did, a.host, a.upstream, d.local, a.rev, a.repo, a.signing_key, ",
            "a.identity_checked_s, a.last_host, a.last_epoch, a.last_host_seq, a.last_seq ",
            "FROM relay_account a LEFT JOIN relay_decision d ON d.did = a.did ",
            $rest
        )
    };
}

/// Bytes that stand for a `did:plc`; no other DID is stored in this length.
const PLC_BYTES: usize = 15;

/// The accounts of these DIDs that exist.
pub(super) async fn by_did(db: &Db, dids: &[Did]) -> Result<Vec<Account>, StoreError> {
    let mut found = Vec::with_capacity(dids.len());
    for chunk in dids.chunks(CHUNK_ROWS) {
        // One row with one column per DID makes the list of an IN.
        let list = vec![chunk.iter().map(|did| Value::from(did_bytes(did))).collect()];
        for row in db.fetch(Statement::rows(select!("WHERE a.did IN {rows}"), list)).await? {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}

/// Accounts above a number, in order.
pub(super) async fn after(
    db: &Db,
    after: AccountNo,
    limit: u32,
) -> Result<Vec<Account>, StoreError> {
    let sql = select!("WHERE a.number > $1 ORDER BY a.number LIMIT $2");
    let rows = db.fetch(Statement::new(sql, vec![after.0.into(), limit.into()])).await?;
    rows.iter().map(read).collect()
}

/// The accounts of these numbers that exist, in order of number.
pub(super) async fn by_number(db: &Db, numbers: &[AccountNo]) -> Result<Vec<Account>, StoreError> {
    let mut found = Vec::with_capacity(numbers.len());
    for chunk in numbers.chunks(CHUNK_ROWS) {
        let list = vec![chunk.iter().map(|number| Value::from(number.0)).collect()];
        for row in db.fetch(Statement::rows(select!("WHERE a.number IN {rows}"), list)).await? {
            found.push(read(&row)?);
        }
    }
    found.sort_by_key(|account| account.number);
    Ok(found)
}

/// Highest number given so far.
pub(super) async fn last_number(db: &Db) -> Result<AccountNo, StoreError> {
    let sql = "SELECT max(number) FROM relay_account";
    let rows = db.fetch(Statement::new(sql, Vec::new())).await?;
    let number = rows.first().map(|row| row.maybe_int(0)).transpose()?.flatten();
    Ok(AccountNo(number.unwrap_or(0).cast_unsigned()))
}

/// What was decided about these DIDs, whether they have a row or not.
pub(super) async fn decisions(
    db: &Db,
    dids: &[Did],
) -> Result<Vec<(Did, LocalStatus)>, StoreError> {
    let sql = "SELECT did, local FROM relay_decision WHERE did IN {rows}";
    let mut found = Vec::new();
    for chunk in dids.chunks(CHUNK_ROWS) {
        let list = vec![chunk.iter().map(|did| Value::from(did_bytes(did))).collect()];
        for row in db.fetch(Statement::rows(sql, list)).await? {
            found.push((did_from_bytes(&row.bytes(0)?)?, local(&row.text(1)?)?));
        }
    }
    Ok(found)
}

/// Writes a decision that is still to be announced; stays also when it says [`LocalStatus::None`],
/// so that the first checkpoint of a row from before it finds that there is one. Gives whether it
/// is news: another than before, or one that was not announced yet.
pub(super) async fn decide(db: &Db, did: &Did, status: LocalStatus) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let sql = "INSERT INTO relay_decision (did, local, pending) VALUES ($1, $2, 1) \
               ON CONFLICT (did) DO UPDATE SET local = excluded.local, pending = 1, \
               over_limit = 0 WHERE relay_decision.local <> excluded.local OR relay_decision.pending = 1";
    let values = vec![did_bytes(did).into(), status.as_text().into()];
    let changed = tx.execute(Statement::new(sql, values)).await?;
    tx.commit().await?;
    Ok(changed > 0)
}

/// The announcement of this decision is durable, or nobody needs it.
pub(super) async fn announced(db: &Db, did: &Did, status: LocalStatus) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let sql = "UPDATE relay_decision SET pending = 0 WHERE did = $1 AND local = $2";
    let values = vec![did_bytes(did).into(), status.as_text().into()];
    tx.execute(Statement::new(sql, values)).await?;
    tx.commit().await
}

/// Accounts with a row that were taken down here.
pub(super) async fn taken_down(db: &Db) -> Result<Vec<AccountNo>, StoreError> {
    let sql = "SELECT a.number FROM relay_decision d JOIN relay_account a ON a.did = d.did \
               WHERE d.local = $1 ORDER BY a.number";
    let values = vec![LocalStatus::Takendown.as_text().into()];
    let rows = db.fetch(Statement::new(sql, values)).await?;
    rows.iter().map(|row| Ok(AccountNo(row.int(0)?.cast_unsigned()))).collect()
}

/// DIDs with a decision, in the order of their stored form, each with that form in hexadecimal digits.
pub(super) async fn decided(
    db: &Db,
    status: LocalStatus,
    after: &str,
    limit: u32,
) -> Result<Vec<(Did, String)>, StoreError> {
    // A cursor that is not ours begins anew.
    let after = HEXLOWER.decode(after.as_bytes()).unwrap_or_default();
    let sql = "SELECT did FROM relay_decision WHERE local = $1 AND did > $2 ORDER BY did LIMIT $3";
    let values = vec![status.as_text().into(), after.into(), limit.into()];
    let rows = db.fetch(Statement::new(sql, values)).await?;
    rows.iter()
        .map(|row| {
            let bytes = row.bytes(0)?;
            Ok((did_from_bytes(&bytes)?, HEXLOWER.encode(&bytes)))
        })
        .collect()
}

/// Decisions that a crash kept from being announced.
pub(super) async fn unannounced(db: &Db) -> Result<Vec<(Did, LocalStatus)>, StoreError> {
    let sql = "SELECT did, local FROM relay_decision WHERE pending = 1 ORDER BY did";
    let rows = db.fetch(Statement::new(sql, Vec::new())).await?;
    rows.iter().map(|row| Ok((did_from_bytes(&row.bytes(0)?)?, local(&row.text(1)?)?))).collect()
}

/// Inserts or overwrites rows; of two with one number the later counts.
pub(super) async fn upsert(tx: &mut Tx, accounts: &[Account]) -> Result<(), StoreError> {
    // Postgres takes a key once per statement, and rows in order touch its pages in order.
    // A stable sort merges the sorted parts of the shards: 100,000 rows do not hold up this thread.
    let mut rows: Vec<&Account> = accounts.iter().rev().collect();
    rows.sort_by_key(|account| account.number);
    rows.dedup_by_key(|account| account.number);
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk: Vec<&Account> = rows.by_ref().take(CHUNK_ROWS).collect();
        let expected = chunk.len() as u64;
        let decided: Vec<Vec<Value>> = chunk
            .iter()
            .filter(|account| account.local != LocalStatus::None)
            .map(|account| {
                // Decided by a shard a moment ago, because the host has no room; what people decide is
                // written before.
                let over_limit = account.local == LocalStatus::Throttled;
                vec![
                    did_bytes(&account.did).into(),
                    account.local.as_text().into(),
                    over_limit.into(),
                ]
            })
            .collect();
        let values = chunk.into_iter().map(write).collect();
        let changed = tx.execute(Statement::rows(UPSERT, values)).await?;
        if changed != expected {
            return Err(StoreError::Damaged(
                "an account to be written has another number than its row".to_owned(),
            ));
        }
        if !decided.is_empty() {
            let sql = "INSERT INTO relay_decision (did, local, over_limit) VALUES {rows} \
                       ON CONFLICT (did) DO NOTHING";
            tx.execute(Statement::rows(sql, decided)).await?;
        }
    }
    Ok(())
}

const UPSERT: &str = "\
INSERT INTO relay_account (number, did, host, upstream, rev, repo, signing_key, \
identity_checked_s, last_host, last_epoch, last_host_seq, last_seq) VALUES {rows} \
ON CONFLICT (did) DO UPDATE SET host = excluded.host, upstream = excluded.upstream, \
rev = excluded.rev, repo = excluded.repo, signing_key = excluded.signing_key, \
identity_checked_s = excluded.identity_checked_s, last_host = excluded.last_host, \
last_epoch = excluded.last_epoch, last_host_seq = excluded.last_host_seq, \
last_seq = excluded.last_seq WHERE relay_account.number = excluded.number";

/// Values in the order of [`UPSERT`].
fn write(account: &Account) -> Vec<Value> {
    let repo = account.repo.map(|repo| [repo.data.0, repo.commit.0].concat());
    let upstream: String = match &account.upstream {
        UpstreamStatus::Active => String::new(),
        // A status is text from outside, and NUL is no text for Postgres.
        other => other.as_text().chars().filter(|c| *c != '\0').collect(),
    };
    vec![
        account.number.0.into(),
        did_bytes(&account.did).into(),
        narrow(account.host.0),
        Value::Text(Some(upstream)),
        Value::Int(account.repo.map(|repo| repo.rev.to_u64().cast_signed())),
        Value::Bytes(repo),
        Value::Bytes(account.key.map(|key| key.to_vec())),
        narrow(u32::try_from(account.identity_checked_ms / 1000).unwrap_or(u32::MAX)),
        account.last.map_or(Value::Int(None), |last| narrow(last.host.0)),
        account.last.map_or(Value::Int(None), |last| narrow(last.epoch.0)),
        Value::Int(account.last.map(|last| last.host_seq.0.cast_signed())),
        account.last_seq.0.into(),
    ]
}

/// Reads the columns of `select!`.
fn read(row: &Row) -> Result<Account, StoreError> {
    let repo = match (row.maybe_int(5)?, row.maybe_bytes(6)?) {
        (Some(rev), Some(digests)) => Some(repo(rev, &digests)?),
        _ => None,
    };
    let key = row
        .maybe_bytes(7)?
        .map(|key| <[u8; 34]>::try_from(key).map_err(|key| damaged("signing key", key.len())))
        .transpose()?;
    let last = match (row.maybe_int(9)?, row.maybe_int(10)?, row.maybe_int(11)?) {
        (Some(host), Some(epoch), Some(host_seq)) => Some(LastEvent {
            host: HostId(widen(host)),
            epoch: Epoch(widen(epoch)),
            host_seq: HostSeq(host_seq.cast_unsigned()),
        }),
        _ => None,
    };
    let upstream = row.text(3)?;
    Ok(Account {
        number: AccountNo(row.number(0)?),
        did: did_from_bytes(&row.bytes(1)?)?,
        host: HostId(widen(row.int(2)?)),
        upstream: match upstream.as_str() {
            "" => UpstreamStatus::Active,
            other => UpstreamStatus::from_text(other),
        },
        local: row.maybe_text(4)?.as_deref().map_or(Ok(LocalStatus::None), local)?,
        repo,
        key,
        identity_checked_ms: u64::from(widen(row.int(8)?)) * 1000,
        last,
        last_seq: Seq(row.number(12)?),
    })
}

fn repo(rev: i64, digests: &[u8]) -> Result<RepoState, StoreError> {
    let wrong = || damaged("repo state", digests.len());
    let (data, commit) = digests.split_at_checked(32).ok_or_else(wrong)?;
    Ok(RepoState {
        rev: Rev::from_u64(rev.cast_unsigned()).ok_or_else(wrong)?,
        data: DataCid(data.try_into().map_err(|_length| wrong())?),
        commit: CommitCid(commit.try_into().map_err(|_length| wrong())?),
    })
}

pub(super) fn local(text: &str) -> Result<LocalStatus, StoreError> {
    LocalStatus::from_text(text)
        .ok_or_else(|| StoreError::Damaged(format!("unknown decision `{text}` about an account")))
}

fn damaged(what: &str, length: usize) -> StoreError {
    StoreError::Damaged(format!("an account's {what} is not valid ({length} bytes)"))
}

/// A host as the column holds it.
pub(super) fn host_value(host: HostId) -> Value {
    narrow(host.0)
}

/// Reverse of [`host_value`].
pub(super) fn host_from(column: i64) -> HostId {
    HostId(widen(column))
}

/// Four bytes of a column `INTEGER`, whose sign means nothing.
fn narrow(number: u32) -> Value {
    i64::from(number.cast_signed()).into()
}

/// Reverse of [`narrow`].
fn widen(number: i64) -> u32 {
    i32::try_from(number).unwrap_or(0).cast_unsigned()
}

/// 15 bytes for a `did:plc` in its canonical form, else the text; a text of 15 bytes gets a NUL
/// at its end, which no DID holds.
pub(super) fn did_bytes(did: &Did) -> Vec<u8> {
    let text = did.as_str();
    if let Some(plc) = text.strip_prefix("did:plc:").filter(|plc| plc.len() == 24)
        && !plc.bytes().any(|byte| byte.is_ascii_uppercase())
        && let Ok(bytes) = BASE32_NOPAD.decode(plc.to_ascii_uppercase().as_bytes())
    {
        return bytes;
    }
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() == PLC_BYTES {
        bytes.push(0);
    }
    bytes
}

/// Reverse of [`did_bytes`].
pub(super) fn did_from_bytes(bytes: &[u8]) -> Result<Did, StoreError> {
    let wrong = || StoreError::Damaged(format!("an account's DID is not valid ({bytes:02x?})"));
    let text = if bytes.len() == PLC_BYTES {
        format!("did:plc:{}", BASE32_NOPAD.encode(bytes).to_ascii_lowercase())
    } else {
        let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        String::from_utf8(text.to_vec()).map_err(|_not_text| wrong())?
    };
    Did::parse(&text).map_err(|_syntax| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN 10.4: 15 bytes for the usual DID, and every DID comes back as it was.
    #[test]
    fn dids_come_back_as_they_were() {
        for (text, length) in [
            ("did:plc:ewvi7nxzyoun6zhxrhs64oiz", 15),
            // Not canonical: kept as text, so that it comes back with its case.
            ("did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ", 32),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oi1", 32),
            ("did:web:example.com", 19),
            // As long as the short form, with and without its NUL.
            ("did:web:a.bc.de", 16),
            ("did:web:ab.cd.ef", 16),
        ] {
            let did = Did::parse(text).unwrap();
            let bytes = did_bytes(&did);
            assert_eq!(bytes.len(), length, "{text}");
            assert_eq!(did_from_bytes(&bytes).unwrap(), did);
        }
    }

    /// What we never wrote is damage, not a panic.
    #[test]
    fn foreign_bytes_are_damage() {
        for bytes in [&b"did"[..], b"", b"\xff\xfe", b"did:web:exa mple.com"] {
            assert!(matches!(did_from_bytes(bytes), Err(StoreError::Damaged(_))), "{bytes:?}");
        }
        assert!(matches!(repo(1, &[0; 63]), Err(StoreError::Damaged(_))));
        assert!(repo(1, &[0; 64]).is_ok());
    }
}
