# Where hosts and accounts are kept: SQLite unless this says otherwise.
{ config, lib, ... }:
let
  inherit (lib)
    mkForce
    mkIf
    mkOption
    types
    ;
  cfg = config.services.atproto-relay;
in
{
  options.services.atproto-relay.database = {
    createLocally = mkOption {
      type = types.bool;
      default = false;
      description = "Runs Postgres on this machine, for those who run on it, with the settings of `tuning.plan`. The relay is let in as its user, so there is no password.";
    };
  };

  config = mkIf (cfg.enable && cfg.database.createLocally) {
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
      initdbArgs = [
        "--data-checksums"
        "--encoding=UTF8"
        "--locale=C.UTF-8"
      ];
    };

    assertions = [
      {
        assertion = cfg.credentials.databaseUrlFile == null;
        message = "services.atproto-relay: `database.createLocally` needs no address; leave `credentials.databaseUrlFile` out, or set `database.createLocally = false`";
      }
    ];
  };
}
