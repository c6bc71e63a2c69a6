//! What the rows of a reference relay mean here. Pure.

use relay_protocol::{Cid, Codec, CommitCid, DataCid, Did, Hostname, Rev};

use crate::{
    domain::{HostSeq, HostStatus, LocalStatus, RepoState, UpstreamStatus},
    store::{IndigoAccount, IndigoHost},
};

/// Bytes of the head of a record in the files of its event log: flags, kind and length of the body in
/// four bytes each, number of the account and seq in eight.
pub(super) const RECORD_HEAD: usize = 28;

/// A host to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostToTake {
    /// Its number there.
    pub(super) id: i64,
    pub(super) hostname: Hostname,
    pub(super) status: HostStatus,
    pub(super) cursor: Option<HostSeq>,
    pub(super) account_limit: u64,
}

/// Why a row is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It cannot be used here; the others can.
    LeftOut(String),
    /// It says something that is not understood: nothing must be taken.
    NotUnderstood(String),
}

/// * `dev` – hosts without TLS and of this machine are permitted
pub(super) fn host(row: &IndigoHost, dev: bool) -> Result<HostToTake, NotTaken> {
    let IndigoHost { id, hostname, no_ssl, account_limit, status, last_seq } = row;
    let scheme = if *no_ssl { "http" } else { "https" };
    let parsed = Hostname::parse(&format!("{scheme}://{hostname}"), dev)
        .map_err(|why| NotTaken::LeftOut(format!("host {hostname}: {why}")))?;
    let status = HostStatus::from_text(status).ok_or_else(|| {
        NotTaken::NotUnderstood(format!("host {hostname} has the unknown status {status:?}"))
    })?;
    Ok(HostToTake {
        id: *id,
        hostname: parsed,
        status,
        cursor: u64::try_from(*last_seq).ok().filter(|seq| *seq > 0).map(HostSeq),
        account_limit: u64::try_from(*account_limit).unwrap_or(0),
    })
}

/// An account to take, and whether that relay held it back for being over the limit of its host.
pub(super) struct AccountToTake {
    pub(super) did: Did,
    pub(super) local: LocalStatus,
    pub(super) upstream: UpstreamStatus,
    /// `None` as well when what is there cannot be read: the next commit tells it again.
    pub(super) repo: Option<RepoState>,
    pub(super) was_throttled: bool,
}

pub(super) fn account(row: &IndigoAccount) -> Result<AccountToTake, NotTaken> {
    let did = Did::parse(&row.did)
        .map_err(|why| NotTaken::LeftOut(format!("account {:?}: {why}", row.did)))?;
    let (local, was_throttled) = match row.status.as_str() {
        "active" | "throttled" => (LocalStatus::None, false),
        "host-throttled" => (LocalStatus::None, true),
        "takendown" => (LocalStatus::Takendown, false),
        "suspended" => (LocalStatus::Suspended, false),
        other => {
            return Err(NotTaken::NotUnderstood(format!(
                "account {did} has the unknown local status {other:?}"
            )));
        }
    };
    let upstream = UpstreamStatus::from_text(&row.upstream);
    let repo = row.repo.as_ref().and_then(|(rev, commit, data)| repo(rev, commit, data));
    Ok(AccountToTake { did, local, upstream, repo, was_throttled })
}

fn repo(rev: &str, commit: &str, data: &str) -> Option<RepoState> {
    let digest = |text: &str| {
        let cid = Cid::parse(text).ok()?;
        (cid.codec == Codec::DagCbor).then_some(cid.digest)
    };
    Some(RepoState {
        rev: Rev::parse(rev).ok()?,
        data: DataCid(digest(data)?),
        commit: CommitCid(digest(commit)?),
    })
}

/// Length of the body and seq of a record.
pub(super) fn record(head: [u8; RECORD_HEAD]) -> (u64, u64) {
    let [.., l0, l1, l2, l3, _, _, _, _, _, _, _, _, s0, s1, s2, s3, s4, s5, s6, s7] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    (length.into(), u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(hostname: &str, status: &str, last_seq: i64) -> IndigoHost {
        let (no_ssl, account_limit) = (false, 100);
        IndigoHost {
            id: 1,
            hostname: hostname.into(),
            no_ssl,
            account_limit,
            status: status.into(),
            last_seq,
        }
    }

    #[test]
    fn hosts_keep_their_status_and_a_cursor_that_is_one() {
        for (status, last_seq, taken, cursor) in [
            ("active", 7, HostStatus::Active, Some(7)),
            ("idle", 1, HostStatus::Idle, Some(1)),
            ("offline", 0, HostStatus::Offline, None),
            ("throttled", -1, HostStatus::Throttled, None),
            ("banned", i64::MIN, HostStatus::Banned, None),
        ] {
            let host = host(&row("a.example.com", status, last_seq), false).unwrap();
            assert_eq!((host.status, host.cursor.map(|seq| seq.0)), (taken, cursor));
        }
    }

    /// What cannot be used is left out; what is not understood stops the whole.
    #[test]
    fn unknown_words_are_not_guessed_at() {
        let left_out = |row: &IndigoHost| matches!(host(row, false), Err(NotTaken::LeftOut(_)));
        assert!(left_out(&row("10.0.0.1", "active", 1)));
        assert!(left_out(&IndigoHost { no_ssl: true, ..row("a.example.com", "active", 1) }));
        let unknown = host(&row("a.example.com", "sleeping", 1), false).unwrap_err();
        assert!(matches!(unknown, NotTaken::NotUnderstood(why) if why.contains("sleeping")));
    }

    fn account_row(status: &str) -> IndigoAccount {
        let cid = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
        IndigoAccount {
            uid: 1,
            did: "did:web:example.com".into(),
            host: 1,
            status: status.into(),
            upstream: "deactivated".into(),
            repo: Some(("3jzfcijpj2z2a".into(), cid.into(), cid.into())),
        }
    }

    #[test]
    fn accounts_keep_what_was_decided_and_their_repo() {
        for (status, local, was_throttled) in [
            ("active", LocalStatus::None, false),
            ("throttled", LocalStatus::None, false),
            ("host-throttled", LocalStatus::None, true),
            ("takendown", LocalStatus::Takendown, false),
            ("suspended", LocalStatus::Suspended, false),
        ] {
            let taken = account(&account_row(status)).ok().unwrap();
            assert_eq!((taken.local, taken.was_throttled), (local, was_throttled), "{status}");
            assert_eq!(taken.upstream, UpstreamStatus::Deactivated);
            assert_eq!(taken.repo.unwrap().rev.to_string(), "3jzfcijpj2z2a");
        }
        assert!(matches!(account(&account_row("odd")), Err(NotTaken::NotUnderstood(_))));
        let broken = IndigoAccount {
            repo: Some(("rev".into(), "cid".into(), "cid".into())),
            ..account_row("active")
        };
        assert_eq!(account(&broken).ok().unwrap().repo, None, "told again by the next commit");
        let nobody = IndigoAccount { did: "did".into(), ..account_row("active") };
        assert!(matches!(account(&nobody), Err(NotTaken::LeftOut(_))));
    }

    #[test]
    fn a_record_says_its_length_and_seq() {
        let mut head = [0xff; RECORD_HEAD];
        head[8..12].copy_from_slice(&300_u32.to_le_bytes());
        head[20..28].copy_from_slice(&(5_u64 << 40).to_le_bytes());
        assert_eq!(record(head), (300, 5 << 40));
    }
}
