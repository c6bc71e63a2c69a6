//! Settings, flags and commands that mean nothing, and what only `--dev` permits.

use relay_simnet::Net;

use crate::program::{Place, Settings, client};

/// DESIGN 6: a wrong value stops the start with name, value and what is allowed, one line for each.
#[tokio::test]
async fn a_wrong_setting_is_named_with_its_value_and_what_is_allowed() {
    let rows = [
        (
            "RELAY_REPLAY_WINDOW",
            "soon",
            "replay_window is \"soon\" (env RELAY_REPLAY_WINDOW): allowed is a duration",
        ),
        (
            "RELAY_SHARDS",
            "0",
            "shards is \"0\" (env RELAY_SHARDS): allowed is `auto` or a whole number",
        ),
        (
            "RELAY_API_BIND",
            "here",
            "api_bind is \"here\" (env RELAY_API_BIND): allowed is ADDRESS:PORT",
        ),
        (
            "RELAY_LOG_LEVEL",
            "loud",
            "log_level is \"loud\" (env RELAY_LOG_LEVEL): allowed is `error`",
        ),
        (
            "RELAY_LOG_COMPRESSION",
            "zip",
            "log_compression is \"zip\" (env RELAY_LOG_COMPRESSION): allowed is `fast`",
        ),
        (
            "RELAY_PLC_HOST",
            "plc",
            "plc_host is \"plc\" (env RELAY_PLC_HOST): allowed is an https URL",
        ),
    ];
    for (name, value, words) in rows {
        let ended = Place::new().run(&[], &[(name, value)]).await;
        assert!(ended.one_sentence().starts_with(&format!("relay: {words}")), "{ended:?}");
    }
    let all: Vec<_> = rows.iter().map(|(name, value, _)| (*name, *value)).collect();
    let ended = Place::new().run(&["config"], &all).await;
    assert_eq!((ended.code, ended.err.lines().count(), ended.out.as_str()), (Some(1), 6, ""));
    assert!(ended.err.lines().all(|line| line.starts_with("relay: ")), "{ended:?}");
}

/// A relay that serves people cannot be told to kill itself, and a wrong point is named. That a right
/// one works is what the torture shows.
#[tokio::test]
async fn a_crash_point_is_refused_unless_it_exists_and_this_is_development() {
    for (flags, value, words) in [
        (&["--dev"][..], "nowhere:1", "relay: RELAY_CRASH_AT is nowhere:1 (env RELAY_CRASH_AT): "),
        (&[], "append_before_sync", "relay: RELAY_CRASH_AT is set, which kills the relay"),
    ] {
        let ended = Place::new().run(flags, &[("RELAY_CRASH_AT", value)]).await;
        assert!(ended.one_sentence().starts_with(words), "{ended:?}");
    }
}

/// Issue 3, section 5: a command line that means nothing is exit code 2 with a hint and nothing on
/// standard output; help and version are answers.
#[tokio::test]
async fn a_wrong_flag_or_command_is_exit_code_2_with_a_hint() {
    for (arguments, hint) in [
        (&["--bnid", ":1"][..], "--bind"),
        (&["serv"], "serve"),
        (&["--data-dir"], "a value is required"),
        (&["dev", "--plc", "nowhere"], "an http or https URL"),
        (&["log", "mend"], "relay log"),
    ] {
        let ended = Place::new().run(arguments, &[]).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.err.contains(hint), "{arguments:?}: {}", ended.err);
    }
    for arguments in [&["--help"][..], &["--version"], &["dev", "--help"]] {
        let ended = Place::new().run(arguments, &[]).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.out.contains("relay"), "{}", ended.out);
    }
}

/// DESIGN 10.16: every refusal that `--dev` would lift names it, at the start and later; with it the
/// same passes; in production it is refused itself.
#[tokio::test]
async fn what_only_development_mode_permits_is_refused_by_its_name() {
    for arguments in [
        ["--crawl", "localhost:2583"],
        ["--crawl", "http://pds.example.com"],
        ["--crawl", "pds.test"],
        ["--plc-host", "http://plc.example.com"],
    ] {
        let refused = Place::new().run(&arguments, &[]).await;
        let sentence = refused.one_sentence();
        assert!(sentence.contains(arguments[1]) && sentence.contains("--dev"), "{sentence}");
        let allowed = Place::new().run(&["config", "--dev", arguments[0], arguments[1]], &[]).await;
        assert_eq!(allowed.code, Some(0), "{allowed:?}");
    }
    let refused = Place::new().run(&["--dev"], &[("ENVIRONMENT", "production")]).await;
    let sentence = refused.one_sentence();
    assert!(sentence.starts_with("relay: dev is \"true\" (flag --dev)"), "{sentence}");
    assert!(sentence.contains("production"), "{sentence}");
}

/// DESIGN 10.16: also who asks from outside is told what would lift the refusal.
#[tokio::test]
async fn a_request_that_only_development_mode_permits_is_refused_by_its_name() {
    let net = Net::seeded(1).await.unwrap();
    let host = net.pds("alpha").await.unwrap().hostname();
    let plc = net.plc().url();
    let modes: [(&[&str], Settings<'_>, u16); 2] =
        [(&[], &[], 400), (&["--dev"], &[("RELAY_PLC_HOST", &plc)], 200)];
    for (arguments, settings, status) in modes {
        let mut relay = Place::new().start(arguments, settings);
        let [api, ..] = relay.up().await;
        let answer = client()
            .post(format!("http://{api}/xrpc/com.atproto.sync.requestCrawl"))
            .json(&serde_json::json!({ "hostname": host }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
        let text = answer.text().await.unwrap();
        assert_eq!(text.contains("--dev"), status == 400, "{text}");
        let log = relay.stop().await.err;
        assert_eq!(log.contains("development mode: plain ws and http"), status == 200, "{log}");
    }
}
