# Secrets: files outside of the store, which systemd hands to the relay alone.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkIf
    mkOption
    optional
    types
    ;
  cfg = config.services.atproto-relay;
  given =
    optional (cfg.credentials.adminPasswordFile != null) {
      name = "admin-password";
      key = "admin_passwords";
      file = cfg.credentials.adminPasswordFile;
    }
    ++ optional (cfg.credentials.databaseUrlFile != null) {
      name = "database-url";
      key = "database_url";
      file = cfg.credentials.databaseUrlFile;
    };

  # The relay reads one file. It lies in memory, and is as private as the credentials that it is made of.
  read = secret: "${secret.key}=$(value ${secret.name})\n";
  line = secret: "printf '${secret.key} = \"%s\"\\n' \"\$${secret.key}\"\n";
  write = pkgs.writeShellScript "relay-secrets" ''
    set -eu
    umask 077
    value() {
      [ -s "$CREDENTIALS_DIRECTORY/$1" ] || { echo "the file of $1 is empty" >&2; exit 1; }
      sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' "$CREDENTIALS_DIRECTORY/$1" | tr -d '\r\n'
    }
    ${lib.concatStringsSep "" (map read given)}{
    ${lib.concatStringsSep "" (map line given)}} >"$RUNTIME_DIRECTORY/relay.toml"
  '';

  secret =
    name: what:
    mkOption {
      type = types.nullOr (types.strMatching "/[^ :\n]+");
      default = null;
      example = "/run/secrets/${name}";
      description = "File with ${what}, on the machine and not in the store. systemd reads it as root.";
    };
in
{
  options.services.atproto-relay.credentials = {
    # Without it the relay makes a password in its data directory.
    adminPasswordFile = secret "admin-password" "the password of the admin API";
    databaseUrlFile = secret "database-url" "the address of the database and its password";
  };

  config = mkIf cfg.enable {
    systemd.services.relay.serviceConfig = mkIf (given != [ ]) {
      LoadCredential = map (secret: "${secret.name}:${secret.file}") given;
      Environment = [ "RELAY_CONFIG=%t/relay/relay.toml" ];
      RuntimeDirectory = "relay";
      RuntimeDirectoryMode = "0700";
      ExecStartPre = [ write ];
    };

    assertions = map (secret: {
      assertion = !lib.hasPrefix builtins.storeDir secret.file;
      message = "the file of ${secret.name} lies in the store, which everyone of the machine reads: name a file outside, as a string (services.atproto-relay.credentials)";
    }) given;
  };
}
