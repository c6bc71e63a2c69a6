//! The store: one suite, run on SQLite and on Postgres.
//!
//! Each case gets a database of its own and may open it several times.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod decisions;
mod many;
mod opening;
mod operators;
mod places;
#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of faults")]
mod postgres_cluster;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use postgres_cluster::Cluster;
use relay::store::Store;

/// An empty database.
#[derive(Debug)]
struct Place {
    url: String,
    /// Holds the directory or the server as long as the case runs.
    _held: Held,
}

#[derive(Debug)]
enum Held {
    Directory(#[expect(dead_code, reason = "held, not read")] tempfile::TempDir),
    Cluster(#[expect(dead_code, reason = "held, not read")] Arc<Cluster>),
}

impl Place {
    fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Directories that do not exist yet are made.
        let path = dir.path().join("some/where/relay.sqlite");
        Self { url: format!("sqlite://{}", path.display()), _held: Held::Directory(dir) }
    }

    fn postgres() -> Option<Self> {
        let cluster = Cluster::shared()?;
        Some(Self { url: cluster.database(&fresh_name()), _held: Held::Cluster(cluster) })
    }

    async fn open(&self) -> Store {
        Store::open(&self.url, 4).await.unwrap()
    }
}

/// A name that no other database of the cluster has.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("relay-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes two tests of every case.
macro_rules! on_both {
    ($room:ident, $sqlite:ident, $postgres:ident: $($name:ident)*) => {
        mod $sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$room::$name(super::Place::sqlite()).await;
            })*
        }
        mod $postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(place) = super::Place::postgres() {
                    super::$room::$name(place).await;
                }
            })*
        }
    };
}

on_both! {
    cases, sqlite, postgres:
    an_account_comes_back_as_it_was
    hosts_get_numbers_in_order_and_keep_them
    hosts_added_at_once_get_different_numbers
    saving_a_host_leaves_cursor_and_count_alone
    a_lower_cursor_never_overwrites_a_higher_one
    a_cursor_reset_begins_an_epoch
    a_checkpoint_writes_all_or_nothing
    a_checkpoint_does_not_undo_a_decision
    a_decision_is_durable_before_the_account_has_a_row
    a_decision_is_pending_until_it_was_announced
    accounts_that_were_taken_down_are_known_by_number
    counts_follow_their_deltas
    accounts_are_listed_in_order_of_number
    more_rows_than_one_statement_takes_are_written
    the_instance_id_stays
    a_closed_store_is_unavailable
    a_text_with_nul_from_outside_is_stored_without_it
}

on_both! {
    decisions, decisions_sqlite, decisions_postgres:
    what_changed_about_a_host_is_kept_in_order
    a_host_has_a_bounded_history
    bans_of_domains_come_back_as_they_were
    accounts_are_held_and_released_in_order
    holds_end_by_themselves
}

on_both! {
    operators, operators_sqlite, operators_postgres:
    an_action_is_noted_before_and_after_it
    audit_rows_are_found_by_subject_and_action
    old_audit_rows_are_forgotten
    letters_wait_in_order_until_they_were_taken
    entries_of_the_policy_file_and_rules_are_kept
    takedowns_are_listed_in_pages
}

on_both! {
    places, places_sqlite, places_postgres:
    places_in_lists_are_kept
    candidates_keep_who_named_them_first
    the_lowest_seq_only_rises
}

on_both! {
    many, many_sqlite, many_postgres:
    standings_are_those_of_the_rows
    numbers_come_in_the_order_of_the_question
}
