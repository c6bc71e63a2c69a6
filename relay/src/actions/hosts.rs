//! Adding and steering hosts.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Actions, Done, Refused};
use crate::{
    hosts::{Host, Refusal},
    telemetry::escape,
};

/// Most names in one batch.
const BATCH_MAX: usize = 1_000;

pub(super) async fn add(actions: &Actions, name: &str) -> Result<Done, Refused> {
    let host = actions.parts().hosts.admit(name, true).await?;
    let after = json!({ "id": host.id().0, "hostname": host.hostname().to_string() });
    Ok(Done { after: after.clone(), answer: after, ..Done::default() })
}

/// * `hosts` – names, and the accounts that each is to have room for at least
pub(super) async fn add_many(actions: &Actions, hosts: &[(String, u64)]) -> Result<Done, Refused> {
    if hosts.len() > BATCH_MAX {
        let count = hosts.len();
        return Err(Refused::Invalid(format!(
            "at most {BATCH_MAX} hostnames at once, not {count}"
        )));
    }
    let named: Vec<(&str, u64)> = hosts.iter().map(|(name, room)| (name.as_str(), *room)).collect();
    let admitted = actions.parts().hosts.add_many_for(&named).await;
    let added = admitted.iter().filter(|result| result.is_ok()).count();
    let results: Vec<_> =
        named.iter().zip(admitted).map(|((name, _), admitted)| result(name, admitted)).collect();
    let after = json!({ "asked": hosts.len(), "added": added });
    Ok(Done { after, answer: Value::Array(results), ..Done::default() })
}

fn result(name: &str, admitted: Result<Arc<Host>, Refusal>) -> Value {
    match admitted {
        Ok(host) => json!({ "hostname": host.hostname().to_string(), "id": host.id().0 }),
        Err(refusal) => {
            let message = match &refusal {
                Refusal::Store(why) => {
                    tracing::warn!(error = why, "a host could not be added");
                    "the database does not answer".to_owned()
                }
                other => other.to_string(),
            };
            json!({ "hostname": escape(name, 300), "error": refusal.name(), "message": message })
        }
    }
}
