//! Named values of the whole database: its id, and where the last checkpoint stands.

use super::{
    Db, StoreError,
    db::{Statement, Tx},
};
use crate::domain::Seq;

const INSTANCE_ID: &str = "instance_id";
const CHECKPOINT: &str = "checkpoint";
const MARK: &str = "checkpoint_mark";
const SEQ_FLOOR: &str = "seq_floor";
const DIRECTORY: &str = "directory_place";
const SCAN: &str = "directory_scan";

/// Gives a new database its id; an old one keeps its own.
pub(super) async fn create_instance_id(db: &Db) -> Result<(), StoreError> {
    if get(db, INSTANCE_ID).await?.is_some() {
        return Ok(());
    }
    let id = format!("{:032x}", rand::random::<u128>());
    let mut tx = db.begin().await?;
    let sql = "INSERT INTO relay_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    tx.execute(Statement::new(sql, vec![INSTANCE_ID.into(), id.as_str().into()])).await?;
    tx.commit().await
}

/// The id made at first open.
pub(super) async fn instance_id(db: &Db) -> Result<String, StoreError> {
    get(db, INSTANCE_ID)
        .await?
        .ok_or_else(|| StoreError::Damaged("its instance id is missing".to_owned()))
}

/// Position of the last checkpoint.
pub(super) async fn position(db: &Db) -> Result<Option<Seq>, StoreError> {
    let Some(text) = get(db, CHECKPOINT).await? else { return Ok(None) };
    let seq = text.parse().map_err(|_not_a_number| {
        StoreError::Damaged(format!("the checkpoint position `{text}` is no number"))
    })?;
    Ok(Some(Seq(seq)))
}

/// Mark of the last checkpoint.
pub(super) async fn mark(db: &Db) -> Result<Option<u64>, StoreError> {
    let Some(text) = get(db, MARK).await? else { return Ok(None) };
    text.parse().map(Some).map_err(|_not_a_number| {
        StoreError::Damaged(format!("the mark `{text}` of the checkpoint is no number"))
    })
}

/// Moves the position of the last checkpoint.
pub(super) async fn set_position(tx: &mut Tx, at: Seq, mark: u64) -> Result<(), StoreError> {
    let sql = "INSERT INTO relay_meta (name, value) VALUES {rows} \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let row = |name: &str, value: String| vec![name.into(), value.as_str().into()];
    let rows = vec![row(CHECKPOINT, at.to_string()), row(MARK, mark.to_string())];
    tx.execute(Statement::rows(sql, rows)).await?;
    Ok(())
}

/// Lowest seq to give out next; 0 when nobody raised it.
pub(super) async fn seq_floor(db: &Db) -> Result<Seq, StoreError> {
    let Some(text) = get(db, SEQ_FLOOR).await? else { return Ok(Seq(0)) };
    let seq = text.parse();
    seq.map(Seq).map_err(|_not_a_number| {
        StoreError::Damaged(format!("the lowest seq `{text}` is no number"))
    })
}

/// Raises it; one that is higher stays.
pub(super) async fn raise_seq_floor(db: &Db, floor: Seq) -> Result<(), StoreError> {
    if seq_floor(db).await? >= floor {
        return Ok(());
    }
    let sql = "INSERT INTO relay_meta (name, value) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let mut tx = db.begin().await?;
    let values = vec![SEQ_FLOOR.into(), floor.to_string().as_str().into()];
    tx.execute(Statement::new(sql, values)).await?;
    tx.commit().await
}

/// What was said of the scan of the directory that was begun last.
pub(super) async fn scan(db: &Db) -> Result<Option<String>, StoreError> {
    get(db, SCAN).await
}

/// Keeps it.
pub(super) async fn set_scan(tx: &mut Tx, text: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO relay_meta (name, value) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(Statement::new(sql, vec![SCAN.into(), text.into()])).await.map(drop)
}

/// Where the operations of the directory were read to.
pub(super) async fn directory_place(db: &Db) -> Result<Option<String>, StoreError> {
    Ok(get(db, DIRECTORY).await?.filter(|place| !place.is_empty()))
}

/// Moves it.
pub(super) async fn set_directory_place(db: &Db, place: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO relay_meta (name, value) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let mut tx = db.begin().await?;
    tx.execute(Statement::new(sql, vec![DIRECTORY.into(), place.into()])).await?;
    tx.commit().await
}

/// Answers when the database answers.
pub(super) async fn ping(db: &Db) -> Result<(), StoreError> {
    get(db, INSTANCE_ID).await.map(drop)
}

async fn get(db: &Db, name: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT value FROM relay_meta WHERE name = $1";
    let rows = db.fetch(Statement::new(sql, vec![name.into()])).await?;
    rows.first().map(|row| row.text(0)).transpose()
}
