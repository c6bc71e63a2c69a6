# Each setting changed once, and what the relay is told then.
{ lib }:
let
  settings = import ../../../lib/settings.nix { inherit lib; };
  # What is set, and the line that it becomes.
  table = {
    persist_dir = [
      "/events"
      "RELAY_PERSIST_DIR=\"/events\""
    ];
    database_url = [
      "postgres://db.example.com/relay"
      "DATABASE_URL=\"postgres://db.example.com/relay\""
    ];
    database_connections = [
      24
      "MAX_DB_CONNECTIONS=\"24\""
    ];
    replay_window = [
      "24h"
      "RELAY_REPLAY_WINDOW=\"24h\""
    ];
    replay_max_bytes = [
      "500GiB"
      "RELAY_REPLAY_MAX_BYTES=\"500GiB\""
    ];
    segment_bytes = [
      "64MiB"
      "RELAY_SEGMENT_BYTES=\"64MiB\""
    ];
    log_compression = [
      "small"
      "RELAY_LOG_COMPRESSION=\"small\""
    ];
    collections_memory = [
      "512MiB"
      "RELAY_COLLECTIONS_MEMORY=\"512MiB\""
    ];
    initial_seq = [
      5000000
      "RELAY_INITIAL_SEQ_NUMBER=\"5000000\""
    ];
    api_bind = [
      ":2470"
      "RELAY_API_BIND=\":2470\""
    ];
    metrics_bind = [
      "127.0.0.1:9471"
      "RELAY_METRICS_LISTEN=\"127.0.0.1:9471\""
    ];
    admin_bind = [
      "127.0.0.1:9472"
      "RELAY_ADMIN_BIND=\"127.0.0.1:9472\""
    ];
    trusted_proxies = [
      [
        "127.0.0.1"
        "10.0.0.0/8"
      ]
      "RELAY_TRUSTED_PROXIES=\"127.0.0.1,10.0.0.0/8\""
    ];
    crawl = [
      [ "pds.example.com" ]
      "RELAY_CRAWL=\"pds.example.com\""
    ];
    disable_request_crawl = [
      true
      "RELAY_DISABLE_REQUEST_CRAWL=\"true\""
    ];
    default_account_limit = [
      1000
      "RELAY_DEFAULT_ACCOUNT_LIMIT=\"1000\""
    ];
    account_events_per_second = [
      20
      "RELAY_ACCOUNT_EVENTS_PER_SECOND=\"20\""
    ];
    account_events_per_hour = [
      9000
      "RELAY_ACCOUNT_EVENTS_PER_HOUR=\"9000\""
    ];
    account_events_per_day = [
      0
      "RELAY_ACCOUNT_EVENTS_PER_DAY=\"0\""
    ];
    account_discontinuities_per_day = [
      500
      "RELAY_ACCOUNT_DISCONTINUITIES_PER_DAY=\"500\""
    ];
    plc_stream = [
      true
      "RELAY_PLC_STREAM=\"true\""
    ];
    source_relays = [
      [ "relay.example.com" ]
      "RELAY_SOURCE_RELAYS=\"relay.example.com\""
    ];
    contact = [
      "mailto:a@example.com"
      "RELAY_CONTACT=\"mailto:a@example.com\""
    ];
    dev = [
      true
      "RELAY_ALLOW_INSECURE_HOSTS=\"true\""
    ];
    lenient = [
      true
      "RELAY_LENIENT_SYNC_VALIDATION=\"true\""
    ];
    lenient_hosts = [
      [ "pds.example.com=2027-01-31" ]
      "RELAY_LENIENT_HOSTS=\"pds.example.com=2027-01-31\""
    ];
    strict_since = [
      "never"
      "RELAY_STRICT_SINCE=\"never\""
    ];
    environment = [
      "staging"
      "ENVIRONMENT=\"staging\""
    ];
    plc_host = [
      "https://plc.example.com"
      "RELAY_PLC_HOST=\"https://plc.example.com\""
    ];
    plc_rate = [
      50
      "RELAY_PLC_RATE=\"50\""
    ];
    identity_concurrency = [
      32
      "RELAY_IDENTITY_CONCURRENCY=\"32\""
    ];
    resolve_address = [
      [ "9.9.9.9:53" ]
      "RESOLVE_ADDRESS=\"9.9.9.9:53\""
    ];
    force_dns_udp = [
      true
      "FORCE_DNS_UDP=\"true\""
    ];
    log_level = [
      "debug"
      "RELAY_LOG_LEVEL=\"debug\""
    ];
    log_format = [
      "json"
      "RELAY_LOG_FORMAT=\"json\""
    ];
    otlp_endpoint = [
      "http://127.0.0.1:4318"
      "OTEL_EXPORTER_OTLP_ENDPOINT=\"http://127.0.0.1:4318\""
    ];
    otlp_service_name = [
      "relay-of-ash"
      "OTEL_SERVICE_NAME=\"relay-of-ash\""
    ];
    otlp_sampler = [
      "traceidratio"
      "OTEL_TRACES_SAMPLER=\"traceidratio\""
    ];
    otlp_sampler_arg = [
      "0.1"
      "OTEL_TRACES_SAMPLER_ARG=\"0.1\""
    ];
    shards = [
      4
      "RELAY_SHARDS=\"4\""
    ];
    account_cache = [
      200000
      "RELAY_ACCOUNT_CACHE=\"200000\""
    ];
    host_concurrency = [
      80
      "RELAY_HOST_CONCURRENCY=\"80\""
    ];
    host_queue = [
      128
      "RELAY_MAX_QUEUE_PER_PDS=\"128\""
    ];
    handshakes_max = [
      128
      "RELAY_HANDSHAKES_MAX=\"128\""
    ];
    max_consumers_per_client = [
      10
      "RELAY_MAX_CONSUMERS_PER_CLIENT=\"10\""
    ];
    slack_alert_channel = [
      "#ops"
      "RELAY_SLACK_ALERT_CHANNEL=\"#ops\""
    ];
    account_limit_alert_threshold = [
      "0.9"
      "RELAY_ACCOUNT_LIMIT_ALERT_THRESHOLD=\"0.9\""
    ];
    account_limit_alert_interval = [
      "10m"
      "RELAY_ACCOUNT_LIMIT_ALERT_INTERVAL=\"10m\""
    ];
    account_limit_alert_repeat_interval = [
      "12h"
      "RELAY_ACCOUNT_LIMIT_ALERT_REPEAT_INTERVAL=\"12h\""
    ];
    account_limit_alert_dashboard_url = [
      "https://dash.example.com"
      "RELAY_ACCOUNT_LIMIT_ALERT_DASHBOARD_URL=\"https://dash.example.com\""
    ];
    bootstrap_from = [
      [ "relay.example.org" ]
      "RELAY_BOOTSTRAP_FROM=\"relay.example.org\""
    ];
    host_candidates = [
      "add"
      "RELAY_HOST_CANDIDATES=\"add\""
    ];
    trusted_domains = [
      [
        "*.example.com"
        "pds.example.org"
      ]
      "RELAY_TRUSTED_DOMAINS=\"*.example.com,pds.example.org\""
    ];
    new_hosts_per_day = [
      200
      "RELAY_NEW_HOSTS_PER_DAY_LIMIT=\"200\""
    ];
    collections_host_away = [
      "72h"
      "RELAY_COLLECTIONS_HOST_AWAY=\"72h\""
    ];
    collections_questions = [
      0
      "RELAY_COLLECTIONS_QUESTIONS=\"0\""
    ];
    limits_grow = [
      false
      "RELAY_LIMITS_GROW=\"false\""
    ];
    admin_password_file = [
      "/run/secrets/admin"
      "RELAY_ADMIN_PASSWORD_FILE=\"/run/secrets/admin\""
    ];
    sibling_relays = [
      [ "https://hil.example.com" ]
      "RELAY_SIBLING_RELAYS=\"https://hil.example.com\""
    ];
    policy_file = [
      "/etc/relay/policy.toml"
      "RELAY_POLICY_FILE=\"/etc/relay/policy.toml\""
    ];
    max_consumers = [
      50
      "RELAY_MAX_CONSUMERS=\"50\""
    ];
  };
  one = key: {
    name = "setting-${key}";
    value = {
      module.services.atproto-relay = {
        enable = true;
        settings.${key} = builtins.head table.${key};
      };
      expect = m: m.has m.env (builtins.elemAt table.${key} 1 + "\n");
    };
  };
in
builtins.listToAttrs (map one (builtins.attrNames table))
// {
  # A setting that nobody thought of here has no line above.
  every-setting-has-a-case = {
    module.services.atproto-relay.enable = true;
    expect = m: m.is (builtins.attrNames table) (builtins.attrNames settings.rowOf);
  };
  defaults-are-not-written = {
    module.services.atproto-relay = {
      enable = true;
      settings.replay_window = "72h";
    };
    expect =
      m:
      m.is m.env "ENVIRONMENT=\"production\"\nPROVISION_DATABASE=\"sqlite\"\nPROVISION_HOST=\"localhost\"\nRELAY_DATA_DIR=\"/var/lib/relay\"\n"
      ++ m.is m.relay.settings.segment_bytes "256MiB";
  };
  a-name-in-capitals-goes-through = {
    module.services.atproto-relay = {
      enable = true;
      settings.SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
    };
    expect = m: m.has m.env "SSL_CERT_FILE=\"/etc/ssl/certs/ca-bundle.crt\"\n";
  };
  quotes-stay-what-they-are = {
    module.services.atproto-relay = {
      enable = true;
      settings.contact = "a \"b\" $HOME \\ `c`";
    };
    expect = m: m.has m.env "RELAY_CONTACT='a \"b\" $HOME \\ `c`'\n";
  };
  quotes-of-both-kinds-stay-too = {
    module.services.atproto-relay = {
      enable = true;
      settings.contact = "a \"b\" 'c' $HOME \\ `d`";
    };
    expect = m: m.has m.env "RELAY_CONTACT=\"a \\\"b\\\" 'c' \\$HOME \\\\ `d`\"\n";
  };
}
