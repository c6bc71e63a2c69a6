//! Decisions about accounts (ACC-3, ACC-12, T24).

use relay_protocol::Did;
use serde_json::{Value, json};

use super::{Actions, By, Done, Refused};
use crate::domain::{Actor, LocalStatus};

pub(super) async fn take_down(actions: &Actions, by: &By, did: &Did) -> Result<Done, Refused> {
    decide(actions, by, did, LocalStatus::Takendown).await
}

pub(super) async fn suspend(actions: &Actions, by: &By, did: &Did) -> Result<Done, Refused> {
    decide(actions, by, did, LocalStatus::Suspended).await
}

pub(super) async fn restore(actions: &Actions, by: &By, did: &Did) -> Result<Done, Refused> {
    must_exist(actions, did).await?;
    decide(actions, by, did, LocalStatus::None).await
}

/// A suspension, or a limit, is not what a takedown was: it stays.
pub(super) async fn reverse_takedown(
    actions: &Actions,
    by: &By,
    did: &Did,
) -> Result<Done, Refused> {
    must_exist(actions, did).await?;
    let before = decided(actions, did).await?.unwrap_or_default();
    if before != LocalStatus::Takendown {
        let state = state(before);
        return Ok(Done { before: state.clone(), after: state, answer: Value::Null });
    }
    decide(actions, by, did, LocalStatus::None).await
}

pub(super) async fn refresh_identity(actions: &Actions, did: &Did) -> Result<Done, Refused> {
    let known = actions.parts().ingest.account(did).await?.is_some();
    if !known {
        return Err(unknown(did));
    }
    // An account that is only in the database asks again by itself when it next says something.
    let asked = actions.parts().ingest.refresh_identity(did).await;
    let asked = asked.map_err(|_stopped| Refused::Stopping)?;
    Ok(Done { answer: json!({ "asked": asked }), ..Done::default() })
}

async fn decide(
    actions: &Actions,
    by: &By,
    did: &Did,
    local: LocalStatus,
) -> Result<Done, Refused> {
    let before = decided(actions, did).await?.unwrap_or_default();
    let known = actions.parts().ingest.set_local_status(did, local).await?;
    if by.actor != Actor::Policy {
        actions.is_by_hand(did).await?;
    }
    Ok(Done { before: state(before), after: state(local), answer: json!({ "known": known }) })
}

/// What was decided about it; `None` when nothing ever was.
async fn decided(actions: &Actions, did: &Did) -> Result<Option<LocalStatus>, Refused> {
    let decided = actions.parts().store.local_statuses(std::slice::from_ref(did)).await?;
    Ok(decided.into_iter().next().map(|(_, local)| local))
}

/// What ends must have been about somebody.
async fn must_exist(actions: &Actions, did: &Did) -> Result<(), Refused> {
    if decided(actions, did).await?.is_some()
        || actions.parts().ingest.account(did).await?.is_some()
    {
        return Ok(());
    }
    Err(unknown(did))
}

fn unknown(did: &Did) -> Refused {
    let what = format!("this relay has never seen the account {did}, and decided nothing about it");
    Refused::Unknown { name: "RepoNotFound", what }
}

fn state(local: LocalStatus) -> Value {
    json!({ "localStatus": local.as_text() })
}
