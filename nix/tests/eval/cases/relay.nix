# The relay itself: its unit, its secrets, its disk.
{
  nothing-is-done-unless-enabled = {
    module.services.atproto-relay.hostname = "relay.example.com";
    expect = m: m.is (m.services ? relay) false ++ m.is m.config.environment.systemPackages [ ];
  };

  defaults = {
    module.services.atproto-relay.enable = true;
    expect =
      m:
      m.is m.unit.User "relay"
      ++ m.has m.unit.ExecReload "/bin/kill -HUP $MAINPID"
      ++ m.is m.unit.ReadWritePaths [ "/var/lib/relay" ]
      ++ m.is m.unit.LimitNOFILE 65536
      ++ m.is (m.unit ? LoadCredential) false
      ++ m.is (m.unit ? MemoryMax) false
      ++ m.is m.services.relay.wantedBy [ "multi-user.target" ]
      ++ m.is m.config.services.postgresql.enable false
      ++ m.is m.config.services.caddy.enable false
      ++ m.is m.config.networking.firewall.allowedTCPPorts [ ]
      ++ m.is (m.timers ? relay-backup) false
      ++ m.is m.config.users.users.relay.isSystemUser true
      ++ m.has (toString m.config.warnings) "provision tune --json";
  };

  hostname = {
    module.services.atproto-relay = {
      enable = true;
      hostname = "relay.example.com";
    };
    expect =
      m:
      m.is m.services.relay.description "AT Protocol relay relay.example.com"
      ++ m.has m.env "PROVISION_HOST=\"relay.example.com\"";
  };

  packages = {
    module =
      let
        other = name: {
          type = "derivation";
          inherit name;
          outPath = "/nix/store/00000000000000000000000000000000-${name}";
        };
      in
      {
        services.atproto-relay = {
          enable = true;
          package = other "other-relay";
          provisionPackage = other "other-provision";
          bootstrap.enable = true;
        };
      };
    expect =
      m:
      m.is m.unit.ExecStart "/nix/store/00000000000000000000000000000000-other-relay/bin/relay serve"
      ++ m.has m.services.relay-hosts.serviceConfig.ExecStart "other-provision/bin/provision hosts bsky.network --add";
  };

  user-and-group = {
    module.services.atproto-relay = {
      enable = true;
      user = "atproto";
      group = "services";
    };
    expect =
      m:
      m.is [ m.unit.User m.unit.Group ] [ "atproto" "services" ]
      ++ m.is (m.config.users.users ? atproto) false
      ++ m.is m.config.systemd.tmpfiles.rules [ "d /var/lib/relay 0750 atproto services - -" ];
  };

  data-directory = {
    module.services.atproto-relay = {
      enable = true;
      dataDir = "/data/relay";
      settings.persist_dir = "/events";
    };
    expect =
      m:
      m.is m.unit.ReadWritePaths [
        "/data/relay"
        "/events"
      ]
      ++ m.is m.services.relay.unitConfig.RequiresMountsFor [
        "/data/relay"
        "/events"
      ]
      ++ m.is m.unit.WorkingDirectory "/data/relay"
      ++ m.has m.env "RELAY_DATA_DIR=\"/data/relay\""
      ++ m.has (builtins.head m.unit.ExecStartPre) "install -d -m 0750 -o relay -g relay /data/relay /events";
  };

  more-arguments = {
    module.services.atproto-relay = {
      enable = true;
      extraArgs = [
        "--log-level=debug"
        "--contact=a b"
      ];
    };
    expect = m: m.has m.unit.ExecStart "/bin/relay serve '--log-level=debug' '--contact=a b'";
  };

  resources = {
    module.services.atproto-relay = {
      enable = true;
      resources = {
        memoryHigh = "6G";
        memoryMax = "8G";
        openFiles = 131072;
      };
    };
    expect = m: m.is [ m.unit.MemoryHigh m.unit.MemoryMax m.unit.LimitNOFILE ] [ "6G" "8G" 131072 ];
  };

  a-field-of-the-unit-can-be-replaced = {
    module = {
      services.atproto-relay.enable = true;
      systemd.services.relay.serviceConfig.TimeoutStartSec = "60";
    };
    expect = m: m.is m.unit.TimeoutStartSec "60";
  };

  environment-files = {
    module.services.atproto-relay = {
      enable = true;
      environmentFiles = [ "/run/secrets/relay.env" ];
    };
    expect = m: m.is (builtins.tail m.unit.EnvironmentFile) [ "/run/secrets/relay.env" ];
  };

  secrets-stay-outside-of-the-store = {
    module.services.atproto-relay = {
      enable = true;
      credentials = {
        adminPasswordFile = "/run/secrets/admin";
        databaseUrlFile = "/run/secrets/database";
      };
    };
    expect =
      m:
      m.is m.unit.LoadCredential [
        "admin-password:/run/secrets/admin"
        "database-url:/run/secrets/database"
      ]
      ++ m.is m.unit.Environment [ "RELAY_CONFIG=%t/relay/relay.toml" ]
      ++ m.is m.unit.RuntimeDirectoryMode "0700"
      ++ m.has m.env "PROVISION_DATABASE=\"elsewhere\""
      ++ m.lacks m.env "PASSWORD"
      ++ m.lacks m.env "secrets";
  };

  disk-by-device = {
    module.services.atproto-relay = {
      enable = true;
      dataDir = "/data/relay";
      storage = {
        device = "/dev/disk/by-id/nvme-one";
        formatEmpty = true;
      };
    };
    expect =
      m:
      let
        mount = m.config.fileSystems."/data/relay";
      in
      m.is mount.device "/dev/disk/by-id/nvme-one"
      ++ m.is mount.fsType "xfs"
      ++ m.is mount.options [
        "noatime"
        "nofail"
        "logbufs=8"
        "logbsize=256k"
      ]
      ++ m.is mount.autoFormat true;
  };

  disk-by-label = {
    module.services.atproto-relay = {
      enable = true;
      storage = {
        label = "relay-data";
        options = [ "noatime" ];
      };
    };
    expect =
      m:
      m.is m.config.fileSystems."/var/lib/relay".device "/dev/disk/by-label/relay-data"
      ++ m.is m.config.fileSystems."/var/lib/relay".options [ "noatime" ]
      ++ m.is m.config.fileSystems."/var/lib/relay".autoFormat false;
  };

  metrics-for-others-are-warned-of = {
    module.services.atproto-relay = {
      enable = true;
      settings.metrics_bind = ":2471";
    };
    expect = m: m.has (toString m.config.warnings) "settings.metrics_bind is :2471";
  };
}
