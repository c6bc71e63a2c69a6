# Backups by the clock, and whether the newest can be restored.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    concatStringsSep
    escapeShellArg
    mkEnableOption
    mkIf
    mkOption
    optional
    optionalString
    types
    ;
  cfg = config.services.atproto-relay;
  backup = cfg.backup;
  helpers = import ../../lib/helpers.nix { inherit lib; };
  isRemote = lib.hasPrefix "s3://" backup.to;
  provision = "${cfg.provisionPackage}/bin/provision";

  secrets =
    optional (cfg.credentials.databaseUrlFile != null) {
      name = "DATABASE_URL";
      credential = "database-url";
      file = cfg.credentials.databaseUrlFile;
    }
    ++ optional (cfg.credentials.adminPasswordFile != null && backup.withSecrets) {
      name = "RELAY_ADMIN_PASSWORD";
      credential = "admin-password";
      file = cfg.credentials.adminPasswordFile;
    };
  kept =
    name:
    concatStringsSep "" (
      optional (backup.keep.${name} > 0) " --keep-${name} ${toString backup.keep.${name}}"
    );

  # Environment and secrets side by side, as `provision` reads them. They lie in memory.
  make = pkgs.writeShellScript "relay-backup" ''
    set -eu
    umask 077
    cp ${cfg.files.env} "$RUNTIME_DIRECTORY/env"
    mkdir -p "$RUNTIME_DIRECTORY/secrets"
    : >"$RUNTIME_DIRECTORY/secrets/relay.env"
    ${
      concatStringsSep "" (
        map (secret: ''
          printf "${secret.name}='%s'\n" "$(tr -d '\r\n' <"$CREDENTIALS_DIRECTORY/${secret.credential}")" >>"$RUNTIME_DIRECTORY/secrets/relay.env"
        '') secrets
      )
    }exec ${provision} backup --env "$RUNTIME_DIRECTORY/env" --to ${escapeShellArg backup.to}${
      concatStringsSep "" (
        map kept [
          "last"
          "daily"
          "weekly"
          "monthly"
        ]
      )
    }${
      concatStringsSep "" (map (key: " --age-recipient ${escapeShellArg key}") backup.ageRecipients)
    }${optionalString backup.withSecrets " --with-secrets"}
  '';
  verify = pkgs.writeShellScript "relay-backup-verify" (
    ''
      set -eu
      umask 077
    ''
    + optionalString cfg.database.createLocally ''
      PATH=${config.services.postgresql.package}/bin:$PATH
      dropdb --host /run/postgresql --if-exists ${cfg.user}_scratch
      createdb --host /run/postgresql ${cfg.user}_scratch
      trap 'dropdb --host /run/postgresql --if-exists ${cfg.user}_scratch' EXIT
      export SCRATCH_DATABASE_URL='postgres://${cfg.user}@%2Frun%2Fpostgresql/${cfg.user}_scratch'
    ''
    + ''
      ${provision} backup verify ${escapeShellArg backup.to}${
        optionalString (
          backup.verifyIdentityFile != null
        ) " --age-identity \"$CREDENTIALS_DIRECTORY/identity\""
      }
    ''
  );
  # Says when something last went well, where the exporter of the machine reads it.
  told = pkgs.writeShellScript "relay-backup-told" ''
    set -eu
    file=/var/lib/relay-metrics/relay_$1.prom
    {
      printf '# HELP relay_%s_success_timestamp_seconds When it last went well.\n' "$1"
      printf '# TYPE relay_%s_success_timestamp_seconds gauge\n' "$1"
      printf 'relay_%s_success_timestamp_seconds %s\n' "$1" "$(date +%s)"
    } >"$file.partial"
    chmod 0644 "$file.partial"
    mv "$file.partial" "$file"
  '';
  service = description: script: name: more: {
    inherit description;
    after = [ "postgresql.service" ];
    unitConfig.RequiresMountsFor = [ cfg.dataDir ];
    serviceConfig =
      helpers.hardened cfg
      // {
        ExecStart = "${script}";
        ExecStartPost = "+${told} ${name}";
        EnvironmentFile = backup.environmentFiles;
      }
      // more;
  };
  timer = when: {
    wantedBy = [ "timers.target" ];
    timerConfig = {
      OnCalendar = when;
      # Many relays do not ask the same disk at the same moment.
      RandomizedDelaySec = "5min";
      # What was missed while the machine was off is done when it is back.
      Persistent = true;
    };
  };
  count =
    default:
    mkOption {
      type = types.ints.between 0 10000;
      inherit default;
      description = "How many of these are kept.";
    };
in
{
  options.services.atproto-relay.backup = {
    enable = mkEnableOption "backups of what a relay cannot have again";
    to = mkOption {
      type = types.strMatching "(/|s3://)[^ \n]+";
      default = "/var/backups/relay";
      example = "s3://bucket/relay";
      description = "A directory of this machine, or S3-compatible storage, whose keys are in `environmentFiles`.";
    };
    when = mkOption {
      type = types.str;
      default = "hourly";
      description = "When, as systemd writes times.";
    };
    verifyWhen = mkOption {
      type = types.str;
      default = "daily";
      description = "When the newest is restored into a scratch database, to see whether it can be.";
    };
    keep = {
      last = count 3;
      daily = count 14;
      weekly = count 0;
      monthly = count 0;
    };
    ageRecipients = mkOption {
      type = types.listOf (types.strMatching "age1[0-9a-z]+|ssh-[^\n]+");
      default = [ ];
      description = "Public keys of age for which backups are encrypted.";
    };
    verifyIdentityFile = mkOption {
      type = types.nullOr (types.strMatching "/[^ :\n]+");
      default = null;
      example = "/run/secrets/backup-key";
      description = "File with a private key, for verifying encrypted backups on this machine. Without it they are verified where the key is, with `provision backup verify`.";
    };
    withSecrets = mkOption {
      type = types.bool;
      default = false;
      description = "Keeps the secrets too, so that a restore needs nothing else. Only encrypted.";
    };
    environmentFiles = mkOption {
      type = types.listOf (types.strMatching "/[^ \n]+");
      default = [ ];
      example = [ "/run/secrets/backup-storage.env" ];
      description = "Files with the keys of the storage, such as AWS_ACCESS_KEY_ID.";
    };
  };

  config = mkIf (cfg.enable && backup.enable) {
    systemd.services.relay-backup = service "Backup of the relay" make "backup" {
      RuntimeDirectory = "relay-backup";
      RuntimeDirectoryMode = "0700";
      LoadCredential = map (secret: "${secret.credential}:${secret.file}") secrets;
    };
    systemd.timers.relay-backup = timer backup.when;

    systemd.services.relay-backup-verify =
      mkIf (backup.ageRecipients == [ ] || backup.verifyIdentityFile != null)
        (
          service "Look whether the newest backup of the relay can be restored" verify "backup_verify" {
            LoadCredential = optional (
              backup.verifyIdentityFile != null
            ) "identity:${backup.verifyIdentityFile}";
          }
        );
    systemd.timers.relay-backup-verify = mkIf (
      backup.ageRecipients == [ ] || backup.verifyIdentityFile != null
    ) (timer backup.verifyWhen);

    systemd.tmpfiles.rules = optional (!isRemote) "d ${backup.to} 0700 ${cfg.user} ${cfg.group} - -";

    assertions = [
      {
        assertion = backup.withSecrets -> backup.ageRecipients != [ ];
        message = "services.atproto-relay.backup.withSecrets: secrets are kept only encrypted; name who reads them in `backup.ageRecipients`";
      }
      {
        assertion = isRemote -> backup.environmentFiles != [ ];
        message = "services.atproto-relay.backup.to is ${backup.to}, and nothing says with which keys: name a file with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in `backup.environmentFiles`";
      }
      {
        assertion = builtins.any (name: backup.keep.${name} > 0) (builtins.attrNames backup.keep);
        message = "services.atproto-relay.backup.keep keeps nothing: set one of `last`, `daily`, `weekly`, `monthly` above 0";
      }
    ];
  };
}
