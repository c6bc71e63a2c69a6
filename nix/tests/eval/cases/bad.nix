# What must not evaluate, and what is said then, which is the same with the module system of nixpkgs.
let
  relay = more: {
    services.atproto-relay = {
      enable = true;
    }
    // more;
  };
  case = says: module: { inherit says module; };
in
{
  unknown-option = case "services.atproto-relay.host' does not exist" (relay {
    host = "relay.example.com";
  });
  unknown-option-of-a-group = case "services.atproto-relay.backup.every' does not exist" (relay {
    backup.every = "1h";
  });
  unknown-option-of-nixos = case "services.postgres' does not exist" (
    relay { } // { services.postgres.enable = true; }
  );
  unknown-setting = case "settings.replay_windw: there is no such setting" (relay {
    settings.replay_windw = "24h";
  });
  setting-that-is-a-secret = case "use `credentials.adminPasswordFile`" (relay {
    settings.admin_passwords = [ "secret" ];
  });
  setting-that-names-a-file = case "secrets come by `credentials`" (relay {
    settings.config = "/etc/relay.toml";
  });
  wrong-type = case "services.atproto-relay.enable' is not of type `boolean'" {
    services.atproto-relay.enable = "yes";
  };
  wrong-type-of-a-setting = case "settings.database_connections' is not of type" (relay {
    settings.database_connections = "many";
  });
  number-out-of-range = case "settings.shards' is not of type" (relay {
    settings.shards = 1000;
  });
  duration-without-a-unit = case "settings.replay_window' is not of type" (relay {
    settings.replay_window = "72";
  });
  unknown-choice = case "settings.log_level' is not of type" (relay {
    settings.log_level = "loud";
  });
  list-item-with-a-comma = case "settings.crawl" (relay {
    settings.crawl = [ "a.example.com,b.example.com" ];
  });
  line-break-in-a-setting = case "settings.contact' is not of type" (relay {
    settings.contact = "a\nRELAY_DEV=true";
  });
  relative-data-directory = case "services.atproto-relay.dataDir' is not of type" (relay {
    dataDir = "data/relay";
  });
  hostname-with-a-scheme = case "services.atproto-relay.hostname' is not of type" (relay {
    hostname = "https://relay.example.com";
  });
  secret-as-a-path = case "credentials.adminPasswordFile' is not of type" (relay {
    credentials.adminPasswordFile = ./bad.nix;
  });
  setting-that-is-an-option = case "the directory is `services.atproto-relay.dataDir`" (relay {
    settings.data_dir = "/data";
  });
  conflict-of-two-values = case "services.atproto-relay.hostname' has conflicting definition values" {
    imports = [
      (relay { hostname = "a.example.com"; })
      (relay { hostname = "b.example.com"; })
    ];
  };
  conflict-of-two-databases = case "settings.database_url' has conflicting definition values" (relay {
    database.createLocally = true;
    settings.database_url = "postgres://db.example.com/relay";
  });
  missing-hostname-of-the-stack =
    case "services.atproto-relay-stack.hostname' was accessed but has no value defined"
      {
        services.atproto-relay-stack.enable = true;
      };
  read-only-file = case "services.atproto-relay.files.env' is read-only" (relay {
    files.env = {
      type = "derivation";
      name = "mine";
      outPath = "/nix/store/mine";
    };
  });

  caddy-without-a-name = case "set `services.atproto-relay.hostname`" (relay {
    caddy.enable = true;
  });
  caddy-that-is-too-old = case "needs Caddy 2.11 or newer, and this is 2.10.2" {
    services.atproto-relay = {
      enable = true;
      hostname = "relay.example.com";
      caddy.enable = true;
    };
    services.caddy.package = {
      type = "derivation";
      name = "caddy";
      version = "2.10.2";
      outPath = "/nix/store/00000000000000000000000000000000-caddy";
    };
  };
  authority-that-is-not-asked = case "leave one of the two out" (relay {
    hostname = "relay.example.com";
    caddy.enable = true;
    caddy.issuer = "internal";
    caddy.authority = "https://acme.example.com/directory";
  });
  password-in-a-setting = case "database_url holds a password" (relay {
    settings.database_url = "postgres://relay:secret@db.example.com/relay";
  });
  development-in-production = case "settings.dev takes hosts without TLS" (relay {
    settings.dev = true;
    settings.environment = "production";
  });
  secret-in-the-store = case "lies in the store" (relay {
    credentials.adminPasswordFile = "/nix/store/00000000000000000000000000000000-password";
  });
  environment-file-in-the-store = case "names a file in the store" (relay {
    environmentFiles = [ "/nix/store/00000000000000000000000000000000-env" ];
  });
  address-that-is-not-needed = case "`database.createLocally` needs no address" (relay {
    database.createLocally = true;
    credentials.databaseUrlFile = "/run/secrets/database";
  });
  place-of-a-postgres-that-is-not-here = case "database.dataDir is that of a Postgres" (relay {
    database.dataDir = "/data/postgres";
  });
  disk-by-two-names = case "by `device` or by `label`, not by both" (relay {
    storage.device = "/dev/disk/by-id/one";
    storage.label = "relay-data";
  });
  format-without-a-disk = case "formatEmpty needs `device`" (relay {
    storage.formatEmpty = true;
  });
  format-a-disk-whose-name-changes = case "name it by /dev/disk/by-id" (relay {
    storage.device = "/dev/sda";
    storage.formatEmpty = true;
  });
  no-hosts-to-begin-with = case "bootstrap.from is empty" (relay {
    bootstrap.enable = true;
    bootstrap.from = [ ];
  });
  secrets-without-a-key = case "secrets are kept only encrypted" (relay {
    backup.enable = true;
    backup.withSecrets = true;
  });
  storage-without-keys = case "nothing says with which keys" (relay {
    backup.enable = true;
    backup.to = "s3://bucket/relay";
  });
  backups-of-which-none-is-kept = case "keeps nothing" (relay {
    backup.enable = true;
    backup.keep = {
      last = 0;
      daily = 0;
    };
  });
  dashboards-without-a-front-door = case "is served by Caddy" (relay {
    monitoring.enable = true;
    monitoring.dashboardName = "dash.example.com";
  });
  dashboards-with-a-known-password = case "its first password is known to everyone" (relay {
    hostname = "relay.example.com";
    caddy.enable = true;
    monitoring.enable = true;
    monitoring.dashboardName = "dash.example.com";
  });
  compared-without-a-name = case "needs the name by which this relay is reached" (relay {
    compare.others = [ "bsky.network" ];
  });
  plan-of-another-database = case "was made for the database `postgres`" (relay {
    tuning.plan = ../../../examples/full/plan.json;
  });
  plan-that-is-refused = case "tuning.plan is refused" (relay {
    tuning.plan = ../refused.json;
  });
}
