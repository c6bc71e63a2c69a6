//! Which test shows the effect of which setting. A setting without a row, a row without a setting and
//! a row whose test does not exist all fail.

use std::{collections::BTreeSet, fs, path::Path};

use relay::config::SETTINGS;

/// Setting, file below `tests`, test.
const EFFECTS: &[(&str, &str, &str)] = &[
    ("config", "settings/places.rs", "each_source_overrides_the_one_before"),
    ("data_dir", "settings/places.rs", "everything_lies_in_the_data_directory"),
    ("persist_dir", "settings/places.rs", "the_event_log_lies_where_it_is_told"),
    ("database_url", "settings/places.rs", "hosts_are_kept_in_the_database_that_is_named"),
    ("database_connections", "settings/places.rs", "no_more_connections_than_allowed_are_opened"),
    ("replay_window", "settings/window.rs", "events_older_than_the_window_go"),
    ("replay_max_bytes", "settings/window.rs", "the_log_stays_below_its_size"),
    ("segment_bytes", "settings/window.rs", "the_log_is_cut_into_files_of_a_size"),
    ("log_compression", "settings/window.rs", "old_files_of_the_log_are_made_smaller_unless_told"),
    ("collections_memory", "settings/load.rs", "the_index_of_collections_has_its_memory"),
    ("initial_seq", "settings/window.rs", "numbers_start_where_they_are_told_and_never_go_back"),
    ("api_bind", "settings/addresses.rs", "each_address_serves_what_belongs_to_it"),
    ("metrics_bind", "settings/addresses.rs", "each_address_serves_what_belongs_to_it"),
    ("admin_bind", "settings/addresses.rs", "each_address_serves_what_belongs_to_it"),
    (
        "trusted_proxies",
        "edge/forwarded.rs",
        "a_client_is_counted_by_the_address_that_a_proxy_names",
    ),
    ("crawl", "settings/hosts.rs", "hosts_of_the_command_line_are_subscribed_to"),
    (
        "bootstrap_from",
        "discovery/pulls.rs",
        "a_new_relay_fills_itself_and_asks_again_after_some_hours",
    ),
    ("source_relays", "e2e/chain.rs", "a_relay_that_reads_a_relay_loses_and_repeats_nothing"),
    (
        "host_candidates",
        "discovery/candidates.rs",
        "a_host_that_a_document_names_is_ignored_listed_or_admitted",
    ),
    (
        "disable_request_crawl",
        "edge/crawling.rs",
        "a_relay_that_adds_by_hand_refuses_strangers_only",
    ),
    (
        "default_account_limit",
        "settings/hosts.rs",
        "new_hosts_get_the_limit_and_old_ones_keep_theirs",
    ),
    ("trusted_domains", "e2e/new_hosts.rs", "hosts_of_trusted_domains_have_large_limits"),
    ("new_hosts_per_day", "e2e/new_hosts.rs", "strangers_add_as_many_hosts_as_they_may"),
    ("limits_grow", "e2e/new_hosts.rs", "limits_grow_only_where_they_are_told_to"),
    (
        "account_events_per_second",
        "e2e/account_limits.rs",
        "an_account_in_a_hurry_is_slowed_down_and_its_neighbour_is_not",
    ),
    (
        "account_events_per_hour",
        "e2e/account_limits.rs",
        "an_account_over_its_limit_is_held_and_released_by_itself",
    ),
    (
        "account_events_per_day",
        "e2e/account_limits.rs",
        "an_account_over_its_limit_is_held_and_released_by_itself",
    ),
    (
        "account_discontinuities_per_day",
        "e2e/account_limits.rs",
        "an_account_whose_commits_do_not_follow_is_held",
    ),
    (
        "collections_host_away",
        "e2e/collections.rs",
        "accounts_of_a_host_that_is_away_for_long_leave_the_lists_and_return",
    ),
    ("collections_questions", "discovery/pace.rs", "hosts_are_asked_as_often_as_the_settings_say"),
    ("contact", "settings/hosts.rs", "hosts_read_whom_to_write_to"),
    ("dev", "settings/rules.rs", "only_development_mode_takes_hosts_of_this_machine"),
    ("lenient", "settings/rules.rs", "leniency_passes_what_strictness_drops_and_counts_it"),
    ("lenient_hosts", "e2e/strictness.rs", "a_host_is_spared_until_its_day_and_no_other_is"),
    ("strict_since", "e2e/strictness.rs", "hosts_first_seen_since_a_day_are_strict_at_once"),
    ("environment", "settings/rules.rs", "production_refuses_development_mode"),
    ("plc_host", "settings/names.rs", "accounts_are_looked_up_in_the_directory_that_is_named"),
    ("plc_rate", "settings/names.rs", "the_directory_is_not_asked_faster_than_allowed"),
    ("plc_stream", "e2e/following.rs", "an_identity_that_changes_is_known_before_its_next_event"),
    (
        "identity_concurrency",
        "settings/names.rs",
        "no_more_requests_than_allowed_are_under_way_at_the_directory",
    ),
    ("resolve_address", "settings/names.rs", "names_are_resolved_by_the_server_that_is_named"),
    (
        "force_dns_udp",
        "settings/names.rs",
        "answers_cut_short_are_fetched_over_tcp_unless_forbidden",
    ),
    ("admin_passwords", "settings/rules.rs", "every_admin_password_opens_and_no_other"),
    ("admin_password_file", "settings/rules.rs", "more_admin_passwords_come_from_a_file"),
    ("sibling_relays", "e2e/siblings.rs", "what_is_decided_at_one_relay_holds_at_its_siblings"),
    (
        "policy_file",
        "e2e/policy.rs",
        "what_the_policy_file_says_is_so_and_what_was_decided_by_hand_stays",
    ),
    ("log_level", "settings/logs.rs", "the_level_decides_what_is_logged"),
    ("log_format", "settings/logs.rs", "the_format_decides_how_a_line_looks"),
    (
        "otlp_endpoint",
        "cli/traces.rs",
        "traces_are_exported_to_the_collector_that_the_standard_names_say",
    ),
    (
        "otlp_headers",
        "cli/traces.rs",
        "traces_are_exported_to_the_collector_that_the_standard_names_say",
    ),
    (
        "otlp_service_name",
        "cli/traces.rs",
        "traces_are_exported_to_the_collector_that_the_standard_names_say",
    ),
    ("otlp_sampler", "cli/traces.rs", "a_sampler_that_keeps_nothing_exports_nothing"),
    ("otlp_sampler_arg", "cli/traces.rs", "a_sampler_that_keeps_nothing_exports_nothing"),
    (
        "alert_webhook",
        "edge/alerting.rs",
        "people_hear_of_a_host_near_its_limit_again_and_when_it_is_over",
    ),
    (
        "slack_alert_token",
        "edge/alerting.rs",
        "people_hear_of_a_host_near_its_limit_again_and_when_it_is_over",
    ),
    (
        "slack_alert_channel",
        "edge/alerting.rs",
        "people_hear_of_a_host_near_its_limit_again_and_when_it_is_over",
    ),
    (
        "account_limit_alert_threshold",
        "edge/alerting.rs",
        "people_hear_of_a_host_near_its_limit_again_and_when_it_is_over",
    ),
    (
        "account_limit_alert_interval",
        "edge/alerting.rs",
        "people_hear_of_a_host_near_its_limit_again_and_when_it_is_over",
    ),
    (
        "account_limit_alert_repeat_interval",
        "edge/alerting.rs",
        "people_hear_of_a_host_near_its_limit_again_and_when_it_is_over",
    ),
    (
        "account_limit_alert_dashboard_url",
        "edge/alerting.rs",
        "people_hear_of_a_host_near_its_limit_again_and_when_it_is_over",
    ),
    ("shards", "settings/load.rs", "one_worker_waits_where_many_go_on"),
    ("account_cache", "settings/load.rs", "accounts_in_memory_stay_within_the_cache"),
    ("host_concurrency", "settings/load.rs", "a_host_with_too_many_open_events_is_not_read"),
    ("host_queue", "settings/load.rs", "a_host_waits_when_its_places_at_a_worker_are_taken"),
    ("handshakes_max", "settings/hosts.rs", "no_more_hosts_than_allowed_are_dialled_at_once"),
    ("max_consumers", "settings/load.rs", "one_consumer_too_many_is_told_to_come_later"),
    (
        "max_consumers_per_client",
        "edge/forwarded.rs",
        "a_client_has_as_many_streams_as_the_settings_say",
    ),
];

/// Issue 3, section 5: every setting has a test that shows its effect.
#[test]
fn every_setting_has_a_test_that_shows_its_effect() {
    let mut findings = Vec::new();
    let mut shown = BTreeSet::new();
    for (key, file, test) in EFFECTS {
        if !SETTINGS.iter().any(|setting| setting.key == *key) {
            findings.push(format!("{key} is not a setting"));
        }
        if !shown.insert(*key) {
            findings.push(format!("{key} has two rows"));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        if let Err(why) = is_shown(&text, key, test) {
            findings.push(format!("{key}: {file}: {why}"));
        }
    }
    for setting in SETTINGS {
        if !shown.contains(setting.key) {
            findings.push(format!("{} has no test that shows its effect", setting.key));
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// The test exists, runs, and its doc comment names the setting.
fn is_shown(source: &str, key: &str, test: &str) -> Result<(), String> {
    let lines: Vec<&str> = source.lines().collect();
    let is_head =
        |line: &&str| line.trim_start_matches("async ").starts_with(&format!("fn {test}("));
    let at = lines.iter().position(is_head).ok_or_else(|| format!("no test `{test}`"))?;
    let above: Vec<&str> = lines
        .iter()
        .take(at)
        .rev()
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .copied()
        .collect();
    if !above.iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test")) {
        return Err(format!("`{test}` is not a test"));
    }
    if above.iter().any(|line| line.starts_with("#[ignore")) {
        return Err(format!("`{test}` does not run"));
    }
    let named = format!("`{key}`");
    if above.iter().any(|line| line.starts_with("///") && line.contains(&named)) {
        Ok(())
    } else {
        Err(format!("the comment of `{test}` does not name {named}"))
    }
}

/// The check itself finds a test that is missing, does not run, or is about something else.
#[test]
fn a_row_whose_test_is_not_one_is_found() {
    let good = "/// Setting `key`: does it.\n#[tokio::test]\nasync fn it_works() {}\n";
    assert_eq!(is_shown(good, "key", "it_works"), Ok(()));
    assert!(is_shown(good, "other", "it_works").is_err());
    assert!(is_shown(good, "key", "it_work").is_err());
    assert!(is_shown(&good.replace("#[tokio::test]\n", ""), "key", "it_works").is_err());
    let ignored = good.replace("async", "#[ignore = \"slow\"]\nasync");
    assert!(is_shown(&ignored, "key", "it_works").is_err());
}
