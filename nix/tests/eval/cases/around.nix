# What stands around the relay: database, front door, hosts, backups, alerts, numbers of the machine.
let
  relay = more: {
    services.atproto-relay = {
      enable = true;
    }
    // more;
  };
  plan = ../../../examples/full/plan.json;
  planned = builtins.fromJSON (builtins.readFile plan);
  number =
    part: name: (builtins.head (builtins.filter (row: row.name == name) planned.plan.${part})).value;
in
{
  postgres-on-this-machine = {
    module = relay { database.createLocally = true; };
    expect =
      m:
      let
        user = builtins.head m.config.services.postgresql.ensureUsers;
      in
      m.has m.env "DATABASE_URL=\"postgres://relay@%2Frun%2Fpostgresql/relay\""
      ++ m.is m.config.services.postgresql.settings.listen_addresses ""
      ++ m.is m.config.services.postgresql.ensureDatabases [ "relay" ]
      ++ m.is [ user.name user.ensureDBOwnership user.ensureClauses.createdb ] [ "relay" true true ]
      ++ m.is (builtins.elem "postgresql.target" m.services.relay.after) true;
  };

  postgres-on-a-disk-of-its-own = {
    module = relay {
      database.createLocally = true;
      database.dataDir = "/data/postgres";
    };
    expect =
      m:
      m.is m.config.services.postgresql.dataDir "/data/postgres/17"
      ++ m.is m.services.postgresql.unitConfig.RequiresMountsFor [ "/data/postgres" ]
      ++ m.has (toString m.services.postgresql.serviceConfig.ExecStartPre) "-m 0700 -o postgres -g postgres /data/postgres/17";
  };

  numbers-of-the-machine = {
    module = relay {
      dataDir = "/data/relay";
      database.createLocally = true;
      tuning = {
        inherit plan;
        kernel = true;
      };
    };
    expect =
      m:
      m.is (toString m.config.services.postgresql.settings.shared_buffers) (
        number "postgres" "shared_buffers"
      )
      ++ m.is (toString m.config.services.postgresql.settings.max_connections) (
        number "postgres" "max_connections"
      )
      ++ m.is (toString m.unit.MemoryMax) (number "unit" "MemoryMax")
      ++ m.is (toString m.unit.LimitNOFILE) (number "unit" "LimitNOFILE")
      ++ m.is (toString m.config.boot.kernel.sysctl."net.core.rmem_max") (
        number "kernel" "net.core.rmem_max"
      )
      ++ m.is m.config.boot.kernelModules [
        "tcp_bbr"
        "sch_fq"
      ]
      ++ m.has m.env "RELAY_SHARDS=\"${number "relay" "RELAY_SHARDS"}\""
      ++ m.has m.env "RELAY_REPLAY_MAX_BYTES=\"${number "relay" "RELAY_REPLAY_MAX_BYTES"}\""
      ++ m.lacks (toString m.config.warnings) "tuning.plan";
  };

  what-a-person-sets-wins-over-the-plan = {
    module = relay {
      database.createLocally = true;
      tuning = {
        inherit plan;
        kernel = false;
      };
      settings.shards = 2;
      resources.memoryMax = "3G";
    };
    expect =
      m:
      m.has m.env "RELAY_SHARDS=\"2\""
      ++ m.is m.unit.MemoryMax "3G"
      ++ m.is m.config.boot.kernelModules [ ]
      ++ m.has (toString m.config.warnings) "the data lie at /var/lib/relay";
  };

  caddy-with-defaults = {
    module = relay {
      hostname = "relay.example.com";
      caddy.enable = true;
    };
    expect =
      m:
      m.is m.caddy {
        RELAY_SITE = "relay.example.com";
        RELAY_UPSTREAM = "127.0.0.1:2470";
        RELAY_ADMIN_UPSTREAM = "127.0.0.1:2472";
        RELAY_ADMIN_ALLOW = "";
        RELAY_TLS_ISSUER = "acme";
      }
      ++ m.is (baseNameOf m.config.services.caddy.configFile) "Caddyfile"
      ++ m.has m.env "RELAY_TRUSTED_PROXIES=\"127.0.0.1,::1\""
      ++ m.is m.config.networking.firewall.allowedTCPPorts [ ];
  };

  caddy-with-everything = {
    module = relay {
      hostname = "relay.example.com";
      openFirewall = true;
      settings.api_bind = ":3470";
      caddy = {
        enable = true;
        names = [ "firehose.example.com" ];
        email = "ops@example.com";
        issuer = "acme";
        authority = "https://acme-staging-v02.api.letsencrypt.org/directory";
        adminAllow = [
          "192.0.2.0/24"
          "2001:db8::1"
        ];
      };
    };
    expect =
      m:
      m.is m.caddy {
        RELAY_SITE = "relay.example.com, firehose.example.com";
        RELAY_UPSTREAM = "127.0.0.1:3470";
        RELAY_ADMIN_UPSTREAM = "127.0.0.1:2472";
        RELAY_ADMIN_ALLOW = "192.0.2.0/24 2001:db8::1";
        RELAY_TLS_ISSUER = "acme";
        RELAY_ACME_EMAIL = "ops@example.com";
        RELAY_ACME_CA = "https://acme-staging-v02.api.letsencrypt.org/directory";
      }
      ++ m.is m.config.networking.firewall.allowedTCPPorts [
        80
        443
      ];
  };

  caddy-with-its-own-authority = {
    module = relay {
      hostname = "relay.test";
      caddy.enable = true;
      caddy.issuer = "internal";
    };
    expect = m: m.is m.caddy.RELAY_TLS_ISSUER "internal";
  };

  the-firewall-opens-the-firehose-alone = {
    module = relay {
      openFirewall = true;
      settings.api_bind = ":2470";
      settings.admin_bind = ":2472";
    };
    expect = m: m.is m.config.networking.firewall.allowedTCPPorts [ 2470 ];
  };

  hosts-by-the-clock = {
    module = relay {
      credentials.adminPasswordFile = "/run/secrets/admin";
      bootstrap = {
        enable = true;
        from = [
          "bsky.network"
          "/etc/relay/hosts"
        ];
        when = "weekly";
      };
    };
    expect =
      m:
      let
        unit = m.services.relay-hosts.serviceConfig;
      in
      m.has unit.ExecStart "provision hosts bsky.network /etc/relay/hosts --add --env /nix/store/"
      ++ m.has unit.ExecStart "--password-file %d/admin-password"
      ++ m.is unit.LoadCredential [ "admin-password:/run/secrets/admin" ]
      ++ m.is m.timers.relay-hosts.timerConfig.OnCalendar "weekly";
  };

  backups-with-defaults = {
    module = relay { backup.enable = true; };
    expect =
      m:
      m.has m.services.relay-backup.serviceConfig.ExecStart "relay-backup"
      ++ m.is m.timers.relay-backup.timerConfig.OnCalendar "hourly"
      ++ m.is m.timers.relay-backup-verify.timerConfig.OnCalendar "daily"
      ++ m.is (builtins.elem "d /var/backups/relay 0700 relay relay - -" m.config.systemd.tmpfiles.rules) true;
  };

  backups-elsewhere = {
    module = relay {
      credentials.adminPasswordFile = "/run/secrets/admin";
      credentials.databaseUrlFile = "/run/secrets/database";
      backup = {
        enable = true;
        to = "s3://bucket/relay";
        when = "*:0/30";
        verifyWhen = "weekly";
        keep = {
          last = 2;
          daily = 7;
          weekly = 5;
          monthly = 12;
        };
        ageRecipients = [ "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq" ];
        verifyIdentityFile = "/run/secrets/identity";
        withSecrets = true;
        environmentFiles = [ "/run/secrets/storage.env" ];
      };
    };
    expect =
      m:
      let
        unit = m.services.relay-backup.serviceConfig;
      in
      m.is unit.EnvironmentFile [ "/run/secrets/storage.env" ]
      ++ m.is unit.LoadCredential [
        "database-url:/run/secrets/database"
        "admin-password:/run/secrets/admin"
      ]
      ++ m.is m.services.relay-backup-verify.serviceConfig.LoadCredential [
        "identity:/run/secrets/identity"
      ]
      ++
        m.is
          [ m.timers.relay-backup.timerConfig.OnCalendar m.timers.relay-backup-verify.timerConfig.OnCalendar ]
          [ "*:0/30" "weekly" ]
      ++ m.is (builtins.filter (
        rule: builtins.match ".*s3.*" rule != null
      ) m.config.systemd.tmpfiles.rules) [ ];
  };

  encrypted-backups-are-not-verified-without-the-key = {
    module = relay {
      backup.enable = true;
      backup.ageRecipients = [ "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq" ];
    };
    expect =
      m:
      m.is
        [
          (m.services ? relay-backup)
          (m.services ? relay-backup-verify)
        ]
        [ true false ];
  };

  monitoring = {
    module = relay {
      hostname = "relay.example.com";
      caddy.enable = true;
      database.createLocally = true;
      settings.metrics_bind = "127.0.0.1:9471";
      monitoring = {
        enable = true;
        keep = "90d";
        grafana = true;
        receivers = [ { webhook_configs = [ { url = "https://example.com/hook"; } ]; } ];
      };
    };
    expect =
      m:
      let
        inherit (m.config.services) prometheus grafana;
        job = name: builtins.head (builtins.filter (one: one.job_name == name) prometheus.scrapeConfigs);
        targets = name: (builtins.head (job name).static_configs).targets;
        receiver = builtins.head prometheus.alertmanager.configuration.receivers;
      in
      m.is (map (one: one.job_name) prometheus.scrapeConfigs) [
        "relay"
        "machine"
        "prometheus"
        "caddy"
        "postgres"
        "public"
      ]
      ++ m.is (targets "relay") [ "127.0.0.1:9471" ]
      ++ m.is (targets "public") [ "https://relay.example.com/xrpc/_health" ]
      ++ m.is (baseNameOf (builtins.head prometheus.ruleFiles)) "relay.yml"
      ++ m.is prometheus.retentionTime "90d"
      ++
        m.is
          [ receiver.name (builtins.head receiver.webhook_configs).url ]
          [ "operators" "https://example.com/hook" ]
      ++
        m.is
          (map (one: one.listenAddress) [
            prometheus
            prometheus.exporters.node
            prometheus.exporters.postgres
            prometheus.exporters.blackbox
            prometheus.alertmanager
          ])
          [
            "127.0.0.1"
            "127.0.0.1"
            "127.0.0.1"
            "127.0.0.1"
            "127.0.0.1"
          ]
      ++ m.has (builtins.head grafana.provision.dashboards.settings.providers).options.path "dashboards";
  };

  monitoring-of-a-relay-alone = {
    module = relay { monitoring.enable = true; };
    expect =
      m:
      m.is (map (one: one.job_name) m.config.services.prometheus.scrapeConfigs) [
        "relay"
        "machine"
        "prometheus"
      ]
      ++ m.is m.config.services.grafana.enable false
      ++ m.is m.config.services.prometheus.exporters.postgres.enable false;
  };

  dashboards-for-everyone = {
    module = relay {
      hostname = "relay.example.com";
      caddy.enable = true;
      credentials.adminPasswordFile = "/run/secrets/admin";
      monitoring.enable = true;
      monitoring.dashboardName = "dash.example.com";
    };
    expect =
      m:
      let
        grafana = m.services.grafana;
      in
      m.is m.config.services.grafana.enable true
      ++ m.is m.caddy.RELAY_DASHBOARD_SITE "dash.example.com"
      ++ m.has m.caddy.RELAY_CADDY_MORE "dashboard.caddy"
      ++ m.is grafana.environment.GF_SERVER_ROOT_URL "https://dash.example.com/"
      ++ m.is grafana.environment.GF_AUTH_ANONYMOUS_ORG_ROLE "Viewer"
      ++ m.is grafana.environment.GF_SERVER_HTTP_ADDR "127.0.0.1"
      ++ m.is grafana.environment.GF_USERS_ALLOW_SIGN_UP "false"
      ++ m.is grafana.serviceConfig.LoadCredential [ "relay-admin-password:/run/secrets/admin" ]
      ++ m.has m.config.services.grafana.settings.security.secret_key "$__file{/var/lib/grafana/";
  };

  compared-with-others = {
    module = relay {
      hostname = "relay.example.com";
      compare = {
        others = [
          "bsky.network"
          "relay.example.org"
        ];
        when = "hourly";
        duration = "30s";
      };
    };
    expect =
      m:
      m.has m.services.relay-compare.serviceConfig.ExecStart "provision compare relay.example.com bsky.network relay.example.org --for 30s --prometheus"
      ++ m.is m.timers.relay-compare.timerConfig.OnCalendar "hourly";
  };

  the-whole-stack-by-one-name = {
    module.services.atproto-relay-stack = {
      enable = true;
      hostname = "relay.example.com";
    };
    expect =
      m:
      m.is m.relay.hostname "relay.example.com"
      ++ m.is m.config.services.postgresql.enable true
      ++ m.is m.config.services.caddy.enable true
      ++ m.is m.config.services.prometheus.enable true
      ++
        m.is
          [
            (m.timers ? relay-backup)
            (m.timers ? relay-hosts)
          ]
          [ true true ]
      ++ m.is m.config.networking.firewall.allowedTCPPorts [
        80
        443
      ];
  };

  a-part-of-the-stack-can-be-left-out = {
    module = {
      services.atproto-relay-stack = {
        enable = true;
        hostname = "relay.example.com";
      };
      services.atproto-relay = {
        database.createLocally = false;
        monitoring.enable = false;
      };
    };
    expect =
      m: m.is [ m.config.services.postgresql.enable m.config.services.prometheus.enable ] [ false false ];
  };
}
