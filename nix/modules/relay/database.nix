# Where hosts and accounts are kept: SQLite unless this says otherwise.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkBefore
    mkForce
    mkIf
    mkMerge
    mkOption
    types
    ;
  cfg = config.services.atproto-relay;
  isElsewhere = cfg.database.dataDir != null;
  # Each version of Postgres has its own.
  directory = "${cfg.database.dataDir}/${config.services.postgresql.package.psqlSchema}";
in
{
  options.services.atproto-relay.database = {
    createLocally = mkOption {
      type = types.bool;
      default = false;
      description = "Runs Postgres on this machine, for those who run on it, with the settings of `tuning.plan`. The relay is let in as its user, so there is no password.";
    };
    dataDir = mkOption {
      type = types.nullOr (types.strMatching "/[^ \n]+");
      default = null;
      example = "/data/postgres";
      description = "Where that Postgres keeps its data, instead of the disk of the system. It does not start before the disk of it is mounted.";
    };
  };

  config = mkMerge [
    (mkIf cfg.enable {
      assertions = [
        {
          assertion = isElsewhere -> cfg.database.createLocally;
          message = "services.atproto-relay.database.dataDir is that of a Postgres on this machine: set `database.createLocally`, or leave it out";
        }
      ];
    })
    (mkIf (cfg.enable && cfg.database.createLocally) {
      services.atproto-relay.settings.database_url = "postgres://${cfg.user}@%2Frun%2Fpostgresql/${cfg.user}";

      services.postgresql = {
        enable = true;
        ensureDatabases = [ cfg.user ];
        ensureUsers = [
          {
            name = cfg.user;
            ensureDBOwnership = true;
            # For scratch databases, into which backups are restored to see whether they can be.
            ensureClauses.createdb = true;
          }
        ];
        # Those who may come are on this machine, and the socket says who they are.
        settings.listen_addresses = mkForce "";
        dataDir = mkIf isElsewhere directory;
        initdbArgs = [
          "--data-checksums"
          "--encoding=UTF8"
          "--locale=C.UTF-8"
        ];
      };

      systemd.services.postgresql = mkIf isElsewhere {
        unitConfig.RequiresMountsFor = [ cfg.database.dataDir ];
        # The disk may be new, and its top belongs to root then.
        serviceConfig.ExecStartPre = mkBefore [
          "+${pkgs.coreutils}/bin/install -d -m 0755 -o postgres -g postgres ${cfg.database.dataDir}"
          "+${pkgs.coreutils}/bin/install -d -m 0700 -o postgres -g postgres ${directory}"
        ];
      };

      assertions = [
        {
          assertion = cfg.credentials.databaseUrlFile == null;
          message = "services.atproto-relay: `database.createLocally` needs no address; leave `credentials.databaseUrlFile` out, or set `database.createLocally = false`";
        }
      ];
    })
  ];
}
