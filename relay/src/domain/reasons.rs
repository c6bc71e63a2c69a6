//! Closed sets of reasons: why an event was dropped, why a consumer was closed (I7).

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal, $words:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The label in metrics and in JSON.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// One sentence for a person.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }

            /// Place in [`Self::ALL`], for tables of counters.
            pub fn index(self) -> usize {
                Self::ALL.iter().position(|reason| *reason == self).unwrap_or(0)
            }
        }
    };
}

reasons! {
    /// Why an event of a host did not become an event of ours.
    DropReason {
        /// VAL-1, MSG-4: the payload is not what its type demands.
        Malformed = "malformed", "The message could not be decoded, or a required field is missing or of the wrong type.";
        /// MSG-1: a part is larger than the protocol allows.
        Oversized = "oversized", "The message, its blocks or its operation list is larger than the protocol allows.";
        /// UP-7: seq on one connection did not increase.
        HostSeqNotIncreasing = "host_seq_not_increasing", "The host sent a seq that was not higher than the one before on the same connection.";
        /// VAL-2: not a DID, or a method we do not support.
        BadDid = "bad_did", "The DID is not valid, or its method is not supported.";
        /// VAL-3, VAL-4, ACC-1: the DID document names another host.
        WrongHost = "wrong_host", "The DID document names another host than the one that sent this.";
        /// DOC-6: the document has no signing key or no PDS, or the DID is unknown or tombstoned.
        IdentityInvalid = "identity_invalid", "The DID document is missing, tombstoned, or names no usable signing key or host.";
        /// RES-5: the identity could not be fetched in time.
        IdentityUnavailable = "identity_unavailable", "The identity could not be fetched within the time an event may wait.";
        /// VAL-5: we took the account down, suspended or throttled it.
        LocallyInactive = "locally_inactive", "This relay does not pass events of this account (takedown, suspension or throttling).";
        /// VAL-6, ACC-4: the host says that the account is not active.
        AccountInactive = "account_inactive", "The account is not active at its host.";
        /// VAL-7 and DESIGN 10.3: seen before, normal after a reconnect.
        Stale = "stale", "The event was seen before, or its rev is not newer than the last accepted one.";
        /// VAL-8: rev more than five minutes ahead.
        FutureRev = "future_rev", "The rev lies more than five minutes in the future.";
        /// VAL-9: CAR or commit object wrong, COM-1..3.
        BadCommit = "bad_commit", "The commit block is missing or is not a valid commit object.";
        /// COM-4: message and commit object contradict each other.
        CommitMismatch = "commit_mismatch", "DID, rev or commit CID of the message differ from the signed commit.";
        /// VAL-10, KEY-1, KEY-2.
        BadSignature = "bad_signature", "The signature does not verify with the account's current key, also after one refresh.";
        /// VAL-11: the operation list is not well-formed.
        BadOps = "bad_ops", "The operation list is not well-formed.";
        /// VAL-11, INV-4: a record block is missing or wrong.
        BadRecord = "bad_record", "A record block is missing, too large or not valid.";
        /// INV-1 MISMATCH.
        ProofMismatch = "proof_mismatch", "Undoing the operations does not lead to prevData.";
        /// INV-1 PARTIAL.
        ProofIncomplete = "proof_incomplete", "Blocks that the proof of the operations needs are missing.";
        /// INV-1 STRUCTURE, MST-1..6.
        BadTree = "bad_tree", "The tree in the blocks breaks the rules of the repository format.";
        /// LEG-1: no prevData, or operations without prev.
        Legacy = "legacy", "The commit has the form from before Sync v1.1 and cannot be proved.";
        /// SYNC-4: same rev, nothing new.
        SyncUnchanged = "sync_unchanged", "The sync repeats the known state.";
        /// SYNC-5: same rev with another commit.
        Fork = "fork", "The sync has the known rev with a different commit.";
        /// SYNC-7, IDE-5.
        RateLimited = "rate_limited", "The account sent more events of this kind than the limit.";
        /// IDE-2, IDE-5, ACC-3: the same announcement was passed a moment ago, or nothing changed.
        Redundant = "redundant", "The announcement repeats one that was just passed, or says nothing new.";
        /// DESIGN 10.7: the waiting room of the account was full.
        ParkingFull = "parking_full", "Too many events of this account were waiting.";
        /// I6: a bug of ours; the frame is kept for the developers.
        Internal = "internal", "This relay failed while judging the event; the frame was kept for its developers.";
    }
}

impl DropReason {
    /// Whether a host that behaves does not cause it: it counts against the growth of its limits
    /// (HOST-8). Repeats after a reconnect, our own decisions and directories that do not answer are
    /// nobody's fault.
    pub const fn is_fault_of_host(self) -> bool {
        !matches!(
            self,
            Self::IdentityUnavailable
                | Self::LocallyInactive
                | Self::Stale
                | Self::SyncUnchanged
                | Self::Redundant
                | Self::ParkingFull
                | Self::Internal
        )
    }
}

reasons! {
    /// Why we closed a consumer.
    CloseReason {
        /// CUR-5.
        FutureCursor = "future_cursor", "The cursor lies ahead of the newest event.";
        /// DESIGN 10.12, WS-8.
        TooSlow = "too_slow", "The consumer did not take its data fast enough.";
        /// WS-6.
        FrameTooLarge = "frame_too_large", "The consumer sent a frame larger than allowed.";
        /// WS-7.
        NoPong = "no_pong", "The consumer did not answer a ping in time.";
        /// OUT-7.
        Shutdown = "shutdown", "The relay is shutting down.";
        /// API-6.
        Disconnected = "disconnected", "An operator of this relay closed the connection.";
        /// Our own log could not be read.
        Internal = "internal", "This relay could not read its event log.";
        /// The consumer went away by itself.
        Gone = "gone", "The consumer closed the connection.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// I7: labels are what metrics and JSON can hold, each once; words are whole sentences.
    #[test]
    fn every_reason_has_a_label_and_a_sentence_of_its_own() {
        let drops = DropReason::ALL.iter().map(|reason| (reason.label(), reason.words()));
        let closes = CloseReason::ALL.iter().map(|reason| (reason.label(), reason.words()));
        for reasons in [drops.collect::<Vec<_>>(), closes.collect()] {
            for (label, words) in &reasons {
                assert!(
                    label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                    "{label}"
                );
                assert!(words.ends_with('.') && words.len() > 20, "{label}: {words}");
            }
            let labels: BTreeSet<_> = reasons.iter().map(|(label, _)| label).collect();
            assert_eq!(labels.len(), reasons.len());
        }
    }

    /// Tables of counters rely on it.
    #[test]
    fn the_index_of_a_reason_is_its_place() {
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
