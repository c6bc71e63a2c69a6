# The settings of the relay, and the file of its environment.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkIf
    mkOption
    types
    ;
  cfg = config.services.atproto-relay;
  settings = import ../../lib/settings.nix { inherit lib; };
  unknown = settings.unknown cfg.settings;
  explain =
    key:
    "services.atproto-relay.settings.${key}: "
    + settings.elsewhere.${key}
      or "there is no such setting; env.example lists all, here in lower case";
  database = if cfg.settings.database_url == null then "" else cfg.settings.database_url;
  listens =
    key: builtins.match "(127[.][0-9.]+|localhost|[[]::1[]]):[0-9]+" cfg.settings.${key} != null;
in
{
  options.services.atproto-relay = {
    settings = mkOption {
      type = settings.type;
      default = { };
      example = {
        replay_window = "24h";
        contact = "mailto:relay@example.com";
      };
      description = ''
        Settings of the relay, by their names in its TOML file. They are in the store, where everyone of
        the machine reads them. A name in capitals goes into the environment as it is.
      '';
    };

    environmentFiles = mkOption {
      type = types.listOf (types.strMatching "/[^ \n]+");
      default = [ ];
      example = [ "/run/secrets/relay.env" ];
      description = "Files with more of the environment, which override `settings`. systemd reads them as root.";
    };

    files.env = mkOption {
      type = types.package;
      internal = true;
      readOnly = true;
      description = "The environment of the relay as a file.";
    };
  };

  config = mkIf cfg.enable {
    services.atproto-relay = {
      settings.environment = mkDefault (if cfg.settings.dev then "dev" else "production");
      files.env = pkgs.writeText "relay.env" (
        settings.envText (
          settings.environment cfg.settings
          // {
            RELAY_DATA_DIR = cfg.dataDir;
            PROVISION_HOST = if cfg.hostname == null then "localhost" else cfg.hostname;
            PROVISION_DATABASE =
              if cfg.database.createLocally then
                "postgres"
              else if cfg.credentials.databaseUrlFile != null || lib.hasPrefix "postgres" database then
                "elsewhere"
              else
                "sqlite";
          }
        )
      );
    };

    systemd.services.relay.serviceConfig.EnvironmentFile = [ cfg.files.env ] ++ cfg.environmentFiles;
    # Where the operators' program looks.
    environment.etc."relay/env".source = cfg.files.env;

    assertions = [
      {
        assertion = unknown == [ ];
        message = lib.concatStringsSep "\n" (map explain unknown);
      }
      {
        assertion = cfg.settings.dev -> cfg.settings.environment != "production";
        message = "services.atproto-relay.settings.dev takes hosts without TLS, and `settings.environment` is `production`: change one of the two";
      }
      {
        assertion = builtins.match "[^:]*://[^/@]*:[^/@]*@.*" database == null;
        message = "services.atproto-relay.settings.database_url holds a password, and settings are in the store for everyone: use `credentials.databaseUrlFile`, or `database.createLocally`, which needs none";
      }
      {
        assertion = builtins.all (file: !lib.hasPrefix builtins.storeDir file) cfg.environmentFiles;
        message = "services.atproto-relay.environmentFiles names a file in the store, which everyone of the machine reads: name a file outside, as a string";
      }
    ];
    warnings =
      map
        (
          key:
          "services.atproto-relay.settings.${key} is ${cfg.settings.${key}}: others than this machine reach it as far as the firewall lets them"
        )
        (
          builtins.filter (key: !listens key) [
            "admin_bind"
            "metrics_bind"
          ]
        );
  };
}
