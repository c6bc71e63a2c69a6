//! Hosts that the operations of the PLC directory name, read from its export (PLC-1).
//!
//! Operations that were replaced later name hosts that may be gone; each name is only a candidate.

use std::time::Duration;

use relay_protocol::Hostname;
use serde_json::Value;

use super::{asking::Asking, candidates::Candidates};
use crate::{
    clock::Clock,
    net::Net,
    store::{PullRow, Store},
};

/// The row of the directory among those of the relays; no relay has such a name.
pub(super) const DIRECTORY: &str = "directory";

/// Operations of one page; what the method allows at most.
const PAGE: usize = 1_000;

/// Operations have at most 7,500 bytes each.
const ASKING: Asking = Asking { whose: "its export", bytes_max: 16 << 20, attempts: 5 };

/// What a scan works with.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) store: Store,
    pub(super) net: Net,
    pub(super) clock: Clock,
    /// The directory, without slash at the end.
    pub(super) url: String,
    /// Pages a second at most.
    pub(super) rate: u32,
    /// Admit what is found.
    pub(super) add: bool,
    pub(super) dev: bool,
}

impl Scan {
    /// Reads pages until the newest operation, or until something is wrong, which is in the row then.
    pub(super) async fn run(
        &self,
        candidates: &Candidates,
        mut row: PullRow,
        mut tell: impl FnMut(&PullRow),
    ) -> PullRow {
        row.last_error = None;
        loop {
            let turn = tokio::time::sleep(Duration::from_secs(1) / self.rate.max(1));
            row.last_error = self.step(candidates, &mut row).await.err();
            // What a page named is kept before the place behind it, or a restart would lose it.
            let kept = async {
                candidates.save().await?;
                self.store.save_pull(&row).await
            };
            if let Err(error) = kept.await {
                row.last_error.get_or_insert(error.to_string());
            }
            tell(&row);
            if row.last_error.is_some() || row.finished_ms.is_some() {
                return row;
            }
            turn.await;
        }
    }

    async fn step(&self, candidates: &Candidates, row: &mut PullRow) -> Result<(), String> {
        let after = row.next_page.clone().unwrap_or_else(|| "0".to_owned());
        let url = format!("{}/export?count={PAGE}&after={after}", self.url);
        let body = ASKING.page(&self.net, &url).await?;
        let mut last = None;
        let mut count = 0_usize;
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let operation: Value = serde_json::from_slice(line)
                .map_err(|_not_json| "a line of it is not JSON".to_owned())?;
            last = operation.get("seq").and_then(Value::as_u64);
            count += 1;
            let (Some(did), Some(endpoint)) = (did(&operation), endpoint(&operation)) else {
                continue;
            };
            match Hostname::parse(endpoint, self.dev) {
                Ok(host) if candidates.seen(host.as_str(), did, self.add) => row.added += 1,
                Ok(_) => row.known += 1,
                Err(_) => row.refused += 1,
            }
        }
        row.listed += count as u64;
        match last {
            Some(seq) if seq.to_string() != after => row.next_page = Some(seq.to_string()),
            Some(_) => return Err("it gives the same operations again and again".to_owned()),
            None if count > 0 => return Err("its operations have no seq: it is too old".to_owned()),
            None => {}
        }
        if count < PAGE {
            row.finished_ms = Some(self.clock.now_ms());
        }
        Ok(())
    }
}

fn did(operation: &Value) -> Option<&str> {
    operation.get("did")?.as_str()
}

/// The host that an operation names: in the form of today, or in that of the first operations.
fn endpoint(operation: &Value) -> Option<&str> {
    let operation = operation.get("operation")?;
    let service = operation.get("services").and_then(|services| services.get("atproto_pds"));
    match service {
        Some(service) => service.get("endpoint")?.as_str(),
        None => operation.get("service")?.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// PLC-1: both forms of an operation name a host; a tombstone names none.
    #[test]
    fn operations_of_both_forms_name_their_host() {
        let pds = json!({"type": "AtprotoPersonalDataServer", "endpoint": "https://a.example.com"});
        for (operation, named) in [
            (
                json!({"type": "plc_operation", "services": {"atproto_pds": pds}}),
                Some("https://a.example.com"),
            ),
            (
                json!({"type": "create", "service": "https://b.example.com"}),
                Some("https://b.example.com"),
            ),
            (json!({"type": "plc_operation", "services": {}}), None),
            (json!({"type": "plc_operation", "services": {"atproto_pds": {"endpoint": 7}}}), None),
            (json!({"type": "plc_tombstone", "prev": "x"}), None),
        ] {
            assert_eq!(endpoint(&json!({ "operation": operation })), named);
        }
        assert_eq!(endpoint(&json!({})), None);
    }
}
