//! Precedence, origins, refusals.

#![expect(clippy::unwrap_in_result, reason = "what the settings answer is what is tested")]

use std::fs;

use super::*;

/// Loads from a command line and an environment, in a directory with these files.
fn load_in(dir: &Path, line: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let (_, flags) = parse(line.split(' ')).unwrap();
    let env: Vec<(String, String)> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&flags, &env, dir)
}

fn load(line: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_in(tempfile::tempdir().unwrap().path(), line, env)
}

fn origin(config: &Config, key: &str) -> String {
    config.effective().iter().find(|effective| effective.key == key).unwrap().origin.clone()
}

/// DESIGN 6: the defaults are usable, and nothing listens to the world.
#[test]
fn defaults_need_nothing_and_listen_on_this_machine_only() {
    let config = load("relay", &[]).unwrap();

    assert_eq!(config.data_dir, Path::new("data/relay"));
    assert_eq!(config.persist_dir, Path::new("data/relay/persist"));
    assert_eq!(config.database_url.expose(), "sqlite://data/relay/relay.sqlite");
    for (address, port) in
        [(config.api_bind, 2470), (config.metrics_bind, 2471), (config.admin_bind, 2472)]
    {
        assert_eq!(address, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    assert_eq!(config.replay_window, Duration::from_hours(72));
    assert_eq!((config.replay_max_bytes, config.initial_seq), (None, 1));
    assert_eq!((config.host_concurrency, config.host_queue), (4096, 64));
    assert_eq!(config.account_cache, 500_000);
    assert!(config.shards >= 1 && !config.dev && !config.lenient);
    assert!(config.warnings().is_empty() && config.admin_passwords.is_empty());
}

/// DESIGN 6: defaults < file < `.env` < environment < flags, and each value knows its origin.
#[test]
fn later_sources_override_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("relay.toml"),
        "replay_window = '1h'\nshards = 1\nplc_rate = 1\ncrawl = ['a.example.com', 'b.example.com']\n",
    )
    .unwrap();
    fs::write(
        dir.path().join(".env"),
        "RELAY_SHARDS=2\nexport RELAY_PLC_RATE='2'\nX=1\nLOG_LEVEL=warn\n",
    )
    .unwrap();
    let env = [("RELAY_PLC_RATE", "3"), ("RELAY_HANDSHAKES_MAX", "3"), ("RELAY_LOG_LEVEL", "")];

    let config = load_in(dir.path(), "relay --config relay.toml --handshakes-max 4", &env).unwrap();

    let file = format!("file {}", dir.path().join("relay.toml").display());
    for (key, value, expected) in [
        ("replay_window", "1h", file.as_str()),
        ("crawl", "a.example.com,b.example.com", &file),
        ("shards", "2", ".env RELAY_SHARDS"),
        ("plc_rate", "3", "env RELAY_PLC_RATE"),
        ("handshakes_max", "4", "flag --handshakes-max"),
        ("log_level", "warn", ".env LOG_LEVEL"),
        ("host_queue", "64", "default"),
        ("config", "relay.toml", "flag --config"),
    ] {
        let found = config.effective().iter().find(|effective| effective.key == key).unwrap();
        assert_eq!((found.value.as_str(), found.origin.as_str()), (value, expected), "{key}");
    }
    assert_eq!((config.shards, config.plc_rate, config.handshakes_max), (2, 3, 4));
    assert_eq!(config.crawl, ["a.example.com", "b.example.com"]);
}

/// Issue 3, section 5: paths lie in the data directory unless they are set.
#[test]
fn paths_follow_the_data_directory_unless_set() {
    let config = load("relay", &[("DATA_DIR", "/srv")]).unwrap();
    assert_eq!(config.persist_dir, Path::new("/srv/persist"));
    assert_eq!(config.database_url.expose(), "sqlite:///srv/relay.sqlite");

    let env = [("DATA_DIR", "/srv"), ("RELAY_PERSISTER_DIR", "/log"), ("DATABASE_URL", "sqlite=x")];
    let config = load("relay", &env).unwrap();
    assert_eq!(config.persist_dir, Path::new("/log"));
    assert_eq!(config.database_url.expose(), "sqlite=x");
    let report = load("relay", &[("DATA_DIR", "/srv")]).unwrap().report();
    assert!(report.contains("database_url = \"sqlite:///srv/relay.sqlite\""), "{report}");
}

/// Issue 3, section 5: the environment of the runbook for the archival relay.
#[test]
fn the_environment_of_the_archival_relay_has_its_effect() {
    let runbook = include_str!("../../tests/data/archival-relay.env");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".env"), runbook).unwrap();

    let refused = load_in(dir.path(), "relay", &[]).unwrap_err().0;

    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("database_url is (redacted) (.env DATABASE_URL)"));
    assert!(refused[1].starts_with("admin_passwords is (redacted) (.env RELAY_ADMIN_KEY)"));
    assert!(refused.iter().all(|sentence| sentence.contains("other than CHANGEME")));

    fs::write(dir.path().join(".env"), runbook.replace("CHANGEME", "hunter2")).unwrap();
    let config = load_in(dir.path(), "relay", &[]).unwrap();
    assert_eq!(config.environment, "production");
    assert_eq!(config.database_url.expose(), "postgres://relay:hunter2@localhost:5432/bgs");
    assert_eq!(config.data_dir, Path::new("/data/bigsky"));
    assert_eq!(config.persist_dir, Path::new("/data/bigsky/events"));
    assert_eq!(config.log_level, "info");
    assert_eq!(config.resolve_address, ["8.8.8.8:53".parse().unwrap()]);
    assert!(config.force_dns_udp);
    assert_eq!(config.default_account_limit, 500_000);
    assert_eq!(config.database_connections, 12);
    assert_eq!(config.host_concurrency, 2048);
    assert_eq!(config.host_queue, 200);
    assert_eq!(config.admin_passwords, [Secret::new("hunter2")]);
    let mut warnings = config.warnings().to_vec();
    warnings.sort();
    let obsolete = |name: &str| format!("{name} is obsolete: this relay archives nothing");
    assert_eq!(
        warnings,
        [
            obsolete("CARSTORE_DATABASE_URL"),
            obsolete("MAX_CARSTORE_CONNECTIONS"),
            obsolete("MAX_FETCH_CONCURRENCY"),
            obsolete("RELAY_COMPACT_INTERVAL"),
        ]
    );
}

/// Every setting but one value changed from its default, by each of its names and flags; and a
/// wrong value stops the start with name, value, origin, and what is allowed.
#[test]
fn every_name_of_every_setting_has_an_effect_and_refuses_nonsense() {
    for setting in SETTINGS.iter().filter(|setting| setting.key != schema::CONFIG_FILE) {
        let (mut good, mut shown, bad) = samples(setting.kind);
        if setting.kind == Kind::Switch && setting.default == shown {
            (good, shown) = ("no".to_owned(), "false".to_owned());
        }
        let (good, shown) = (good.as_str(), shown.as_str());
        let value = |config: &Config| {
            let found = config.effective().iter().find(|found| found.key == setting.key).unwrap();
            found.value.clone()
        };
        assert_ne!(
            value(&load("relay", &[]).unwrap()),
            shown,
            "{} needs another sample",
            setting.key
        );
        for name in setting.env {
            let config = load("relay", &[(name, good), other_half(setting.key)]).unwrap();
            assert_eq!(value(&config), shown, "{name}");
            assert_eq!(origin(&config, setting.key), format!("env {name}"));
            let Some(bad) = bad else { continue };
            let refused = load("relay", &[(name, bad)]).unwrap_err().0;
            assert_eq!(refused.len(), 1, "{refused:?}");
            assert!(refused[0].starts_with(setting.key), "{}", refused[0]);
            assert!(refused[0].contains(&format!("(env {name}): allowed is ")), "{}", refused[0]);
            assert_eq!(refused[0].contains(bad), !setting.kind.is_secret(), "{}", refused[0]);
        }
        for flag in setting.flags {
            let config =
                load(&format!("relay --{flag}={good}"), &[other_half(setting.key)]).unwrap();
            assert_eq!(value(&config), shown, "{flag}");
        }
    }
}

/// What has to be set with a setting that does not stand alone.
fn other_half(key: &str) -> (&'static str, &'static str) {
    match key {
        "slack_alert_token" => ("RELAY_SLACK_ALERT_CHANNEL", "#ops"),
        "slack_alert_channel" => ("RELAY_SLACK_ALERT_TOKEN", "hunter2"),
        _ => ("PATH", "/bin"),
    }
}

/// A value that is no default, how it is shown, and one that is not allowed.
fn samples(kind: Kind) -> (String, String, Option<&'static str>) {
    let (good, shown, bad) = match kind {
        Kind::Path | Kind::OptionalPath => ("/elsewhere", "/elsewhere", None),
        Kind::Text => ("mailto:me@example.com", "mailto:me@example.com", Some("caf\u{e9}")),
        Kind::Number(least, _) | Kind::AutoNumber(least, _) => {
            let number = (least + 1).to_string();
            return (number.clone(), number, Some("-3"));
        }
        Kind::Size(..) | Kind::AutoSize(..) => ("3GiB", "3GiB", Some("3 apples")),
        Kind::Duration(..) => ("90m", "90m", Some("90")),
        Kind::Switch => ("yes", "true", Some("perhaps")),
        Kind::Address => (":9", "[::]:9", Some("here")),
        Kind::NameServers => ("9.9.9.9", "9.9.9.9:53", Some("dns.example")),
        Kind::Networks => ("10.0.0.0/8", "10.0.0.0/8", Some("everybody")),
        Kind::Database => ("postgres://a:pw@c/d", "postgres://a:redacted@c/d", Some("mysql://x")),
        Kind::Url => ("https://plc.example", "https://plc.example", Some("plc.example")),
        Kind::Endpoint => ("https://a.example/b", "https://a.example/b", Some("a.example")),
        Kind::HiddenEndpoint => ("https://a.example/hunter2", "(redacted)", Some("a.example")),
        Kind::Token => ("hunter2", "(redacted)", Some("hunter 2")),
        Kind::Share => ("0.25", "0.25", Some("1.5")),
        Kind::Hosts => ("pds.example.com", "pds.example.com", Some("no_host!")),
        Kind::DatedHosts => {
            ("a.example.com=2027-01-31", "a.example.com=2027-01-31", Some("a.example.com"))
        }
        Kind::Day => ("2027-01-31", "2027-01-31", Some("soon")),
        Kind::Siblings => {
            ("Relay2.example.com", "https://relay2.example.com", Some("ftp://relay2.example.com"))
        }
        Kind::Passwords => ("hunter2", "(redacted)", Some("ChangeMe")),
        Kind::Choice(choices) => {
            let name = choices[1].0;
            (name, name, Some("loud"))
        }
    };
    (good.to_owned(), shown.to_owned(), bad)
}

/// Every row of the table is read into the configuration, once.
#[test]
fn every_setting_has_a_reader() {
    let config = load("relay", &[]).unwrap();
    let mut read: Vec<&str> = config.effective().iter().map(|effective| effective.key).collect();
    let mut rows: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    read.sort_unstable();
    rows.sort_unstable();
    assert_eq!(read, rows);
}

/// All that is wrong is said at once, from every source.
#[test]
fn everything_wrong_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    fs::write(&file, "shards = 1.5\nreplay_windwo = '1h'\nconfig = 'x'\nplc_rate = { a = 1 }\n")
        .unwrap();
    let line = format!("relay --config {} --bind nowhere", file.display());

    let refused = load_in(dir.path(), &line, &[]).unwrap_err().0;

    let said = refused.join("\n");
    for part in [
        "`replay_windwo` is not a setting; did you mean replay_window?",
        "a settings file cannot name another one",
        "shards is \"1.5\" (file ",
        "plc_rate is of a wrong type (file ",
        "api_bind is \"nowhere\" (flag --bind): allowed is ADDRESS:PORT",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(refused.len(), 5, "{said}");
}

/// What the environment cannot hold, a file can: no path at all, and one with a zero in it; several
/// values where one is taken.
#[test]
fn values_that_only_a_file_can_hold_are_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        load_in(dir.path(), "relay --config relay.toml", &[])
    };
    for (text, said) in [
        ("data_dir = ''", "data_dir is \"\" (file "),
        ("persist_dir = \"a\\u0000b\"", "persist_dir is \"a\\0b\" (file "),
        ("plc_rate = [1, 2]", "plc_rate is \"1,2\" (file "),
        ("crawl = [['a.example.com', 'b.example.com']]", "crawl is of a wrong type (file "),
        ("api_bind = {}", "api_bind is of a wrong type (file "),
        ("admin_passwords = ['good', 'changeme']", "admin_passwords is (redacted) (file "),
    ] {
        let refused = load(text).unwrap_err().0;
        assert_eq!(refused.len(), 1, "{text}: {refused:?}");
        assert!(refused[0].starts_with(said), "{text}: {}", refused[0]);
    }
    let config = load("data_dir = '/srv'\nplc_rate = 2\ncrawl = 'a.example.com,b.example.com'\n");
    let config = config.unwrap();
    assert_eq!((config.data_dir.as_path(), config.plc_rate), (Path::new("/srv"), 2));
    assert_eq!(config.crawl, ["a.example.com", "b.example.com"]);
}

/// I8: files that cannot be read are named, their lines are not shown.
#[test]
fn broken_files_are_named_without_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    fs::write(&path, "plc_rate = 5\nadmin_passwords = [\"hunter2\"\n").unwrap();
    let line = format!("relay --config {}", path.display());
    let toml = load_in(dir.path(), &line, &[]).unwrap_err().to_string();
    fs::write(&path, "plc_rate = 5\n").unwrap();
    fs::write(dir.path().join(".env"), "A=1\nRELAY_ADMIN_KEY=hunter2 hunter2\n").unwrap();
    let env = load_in(dir.path(), &line, &[]).unwrap_err().to_string();
    fs::remove_file(dir.path().join(".env")).unwrap();
    let missing = load_in(dir.path(), "relay --config nowhere.toml", &[]).unwrap_err().to_string();

    assert!(toml.contains("relay.toml: TOML parse error at line"), "{toml}");
    assert!(env.contains(".env has an error in line 2"), "{env}");
    assert!(missing.contains("nowhere.toml cannot be read"), "{missing}");
    assert!(!format!("{toml}{env}").contains("hunter2"));
    assert_eq!(load_in(dir.path(), &line, &[]).unwrap().plc_rate, 5);
}

/// Issue 3, section 5: names that do nothing are said, with the nearest that does.
#[test]
fn names_without_effect_are_warned_of() {
    let env = [
        ("RELAY_REPLAY_WINDWO", "1h"),
        ("RELAY_ADMIN_KEY", "a"),
        ("RELAY_ADMIN_PASSWORD", "b"),
        ("PATH", "/bin"),
        ("MAX_FETCH_CONCURRENCY", "5"),
    ];
    let config = load("relay --enable-jaeger-tracing x", &env).unwrap();

    let mut warnings = config.warnings().to_vec();
    warnings.sort();
    assert_eq!(
        warnings,
        [
            "--enable-jaeger-tracing is not yet supported by this relay, ignored",
            "MAX_FETCH_CONCURRENCY is obsolete: this relay archives nothing",
            "RELAY_ADMIN_KEY is ignored because RELAY_ADMIN_PASSWORD is set",
            "RELAY_REPLAY_WINDWO is not a setting; did you mean RELAY_REPLAY_WINDOW?",
        ]
    );
    assert_eq!(config.admin_passwords, [Secret::new("b")]);
}

/// DESIGN 10.16: only development mode takes plain http and `localhost`, and production refuses it.
#[test]
fn development_mode_lifts_what_names_it() {
    for flag in ["--plc-host=http://localhost:2582", "--crawl=localhost:2583"] {
        let refused = load(&format!("relay {flag}"), &[]).unwrap_err().to_string();
        assert!(refused.contains("--dev"), "{refused}");
        load(&format!("relay --dev {flag}"), &[]).unwrap();
    }
    let production = [("ENVIRONMENT", "Production")];
    load("relay", &production).unwrap();
    let refused = load("relay --dev", &production).unwrap_err().to_string();
    assert!(refused.contains("dev is \"true\" (flag --dev): allowed is `false`"), "{refused}");
}

/// DESIGN 10.14: hosts that are spared have valid names and a day each.
#[test]
fn hosts_that_are_spared_need_a_name_and_a_day() {
    let days = [("RELAY_LENIENT_HOSTS", "a.example.com=2027-01-31, b.example.com=2027-02-01")];
    let config = load("relay --strict-since=2026-12-01", &days).unwrap();
    let names: Vec<_> =
        config.lenient_hosts.iter().map(|(name, day)| format!("{name} {day}")).collect();
    assert_eq!(names, ["a.example.com 2027-01-31", "b.example.com 2027-02-01"]);
    assert_eq!(config.strict_since, Day::parse("2026-12-01"));
    assert_eq!(load("relay --strict-since=never", &[]).unwrap().strict_since, None);

    for (value, words) in [
        ("a.example.com", "hosts and days such as"),
        ("a.example.com=2027-02-30", "hosts and days such as"),
        ("10.0.0.1=2027-01-31", "of \"10.0.0.1\""),
        ("localhost:2583=2027-01-31", "--dev"),
    ] {
        let refused = load("relay", &[("RELAY_LENIENT_HOSTS", value)]).unwrap_err().to_string();
        assert!(refused.contains("lenient_hosts is") && refused.contains(words), "{refused}");
    }
    let refused = load("relay --strict-since=soon", &[]).unwrap_err().to_string();
    assert!(refused.contains("`never` or a day such as"), "{refused}");
}

/// I8: `relay config` shows no secret and names every origin.
#[test]
fn the_report_shows_values_and_origins_but_no_secret() {
    let env = [
        ("RELAY_ADMIN_PASSWORD", "hunter2,other2"),
        ("DATABASE_URL", "postgres://ann:hunter2@db/relay"),
        ("RELAY_CONTACT", "say \"hi\""),
    ];
    let config = load("relay --replay-window 90m", &env).unwrap();

    let report = config.report();

    assert!(!report.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    let line = |key: &str| {
        let line = report.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("admin_passwords"),
        "admin_passwords = \"(redacted)\" # env RELAY_ADMIN_PASSWORD"
    );
    assert_eq!(line("replay_window"), "replay_window = \"90m\" # flag --replay-window");
    assert_eq!(line("contact"), r#"contact = "say \"hi\"" # env RELAY_CONTACT"#);
    assert!(line("database_url").contains("postgres://ann:redacted@db/relay"));
    assert_eq!(line("shards"), "shards = \"auto\" # default");
    assert_eq!(report.lines().count(), SETTINGS.len());
}

/// Issue 3, section 5: a password is made once, 0600, and taken again at the next start.
#[test]
fn a_password_is_made_where_none_is_set() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("new/data");
    let line = format!("relay --data-dir {}", data.display());
    let start = || {
        let mut config = load(&line, &[]).unwrap();
        (config.ensure_admin_password(), config.admin_passwords)
    };

    let (path, first) = start();

    let path = path.unwrap().unwrap();
    assert_eq!(path, data.join("admin-password"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), first[0].expose());
    assert_eq!((first.len(), first[0].expose().len()), (1, 32));
    assert_eq!(start().1, first);
    // An empty file is what a crash may leave.
    fs::write(&path, "").unwrap();
    assert_ne!(start().1, first);
    // A file that others can read is no secret any more.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = start().0.unwrap_err().to_string();
    assert!(refused.contains("chmod 600"), "{refused}");
    // One that is set needs no file.
    let mut config = load(&line, &[("RELAY_ADMIN_PASSWORD", "set")]).unwrap();
    assert_eq!(config.ensure_admin_password().unwrap(), None);
}

/// `relay dev`: strict and apart from everything else on the machine.
#[test]
fn dev_keeps_everything_in_its_own_directory() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = "relay dev --plc http://localhost:2582 --lenient-sync-validation";
    let invocation = Invocation::new(arguments.split(' '), &[], dir.path()).unwrap();
    let Command::Dev(options) = &invocation.command else { panic!("{:?}", invocation.command) };

    let config = invocation.config.clone().for_dev(Path::new("/tmp/x"), options);

    assert_eq!(config.persist_dir, Path::new("/tmp/x/persist"));
    assert_eq!(config.database_url.expose(), "sqlite:///tmp/x/relay.sqlite");
    assert!(config.dev && !config.lenient);
    assert_eq!(config.plc_host, "http://localhost:2582");
    let wrong = Invocation::new(["relay", "--bind", "x"], &[], dir.path());
    assert!(matches!(wrong, Err(Stop::Setting(_))), "{wrong:?}");
}

/// A crash on purpose is asked for by the environment alone, in development mode alone, and said.
#[test]
fn a_crash_on_purpose_is_for_development_mode_and_is_no_setting() {
    let asked = [(crash::VARIABLE, "roll_after_seal:3")];
    let config = load("relay serve --dev", &asked).unwrap();
    let plan = crash::Plan { point: crash::Point::RollAfterSeal, count: 3 };
    assert_eq!(config.crash_at, Some(plan));
    let [warning] = config.warnings() else { panic!("{:?}", config.warnings()) };
    assert!(warning.contains("kills itself at roll_after_seal"), "{warning}");
    assert!(config.effective().iter().all(|effective| !effective.key.contains("crash")));
    assert_eq!(load("relay serve --dev", &[]).unwrap().crash_at, None);

    let refused = load("relay", &asked).unwrap_err().to_string();
    assert!(refused.contains("for tests in development mode"), "{refused}");
    let unknown = load("relay serve --dev", &[(crash::VARIABLE, "here")]).unwrap_err().to_string();
    assert!(unknown.contains("RELAY_CRASH_AT is here (env RELAY_CRASH_AT)"), "{unknown}");
    assert!(unknown.contains("append_before_sync"), "{unknown}");
}

/// In a file that stays it would kill every start: there it is a name without effect.
#[test]
fn a_crash_on_purpose_is_not_taken_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".env"), "RELAY_CRASH_AT=roll_after_seal").unwrap();
    let config = load_in(dir.path(), "relay serve --dev", &[]).unwrap();
    assert_eq!(config.crash_at, None);
    assert_eq!(config.warnings(), ["RELAY_CRASH_AT is not a setting"]);
}
