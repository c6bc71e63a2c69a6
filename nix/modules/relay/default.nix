# services.atproto-relay: the relay, and what belongs to it. Each file has its options beside their effect.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkEnableOption
    mkIf
    mkOption
    optional
    types
    ;
  cfg = config.services.atproto-relay;
  unit = import ../../lib/unit.nix { inherit lib; };
  role = ../../../ansible/roles/relay;

  rendered = unit.sections (role + "/templates/relay.service.j2") (
    unit.defaults (role + "/defaults/main.yml")
    // {
      relay_hostname = if cfg.hostname == null then config.networking.hostName else cfg.hostname;
      relay_data = cfg.dataDir;
      relay_user = cfg.user;
      # These two are where Ansible puts things; below they are replaced.
      relay_etc = "/etc/relay";
      relay_programs = "/opt/relay";
    }
  );
  own = [
    "ExecStart"
    "ExecReload"
    "EnvironmentFile"
    "LoadCredential"
    "Environment"
    "Group"
  ];
  directories = [
    cfg.dataDir
  ]
  ++ optional (cfg.settings.persist_dir != null) cfg.settings.persist_dir;
in
{
  imports = [
    ./settings.nix
    ./secrets.nix
    ./database.nix
    ./storage.nix
    ./tuning.nix
    ./caddy.nix
    ./bootstrap.nix
    ./backup.nix
    ./monitoring.nix
    ./grafana.nix
    ./compare.nix
  ];

  options.services.atproto-relay = {
    enable = mkEnableOption "the AT Protocol relay";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../../package.nix { };
      description = "The relay.";
    };

    provisionPackage = mkOption {
      type = types.package;
      default = pkgs.callPackage ../../package.nix { program = "provision"; };
      description = "The operators' program, which makes backups and finds hosts.";
    };

    hostname = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*");
      default = null;
      example = "relay.example.com";
      description = "Public name of the relay.";
    };

    user = mkOption {
      type = types.strMatching "[a-z_][a-z0-9_-]*";
      default = "relay";
      description = "User of the relay, of its backups and of its role in Postgres. One of another name has to be there.";
    };

    group = mkOption {
      type = types.strMatching "[a-z_][a-z0-9_-]*";
      default = "relay";
      description = "Group of the relay. One of another name has to be there.";
    };

    dataDir = mkOption {
      type = types.strMatching "/[^ \n]+";
      default = "/var/lib/relay";
      example = "/data/relay";
      description = "Directory of all that the relay keeps. The relay does not start before the disk of it is mounted.";
    };

    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--log-level=debug" ];
      description = "More for the command line, which overrides all settings.";
    };

    resources = {
      memoryHigh = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "6G";
        description = "Memory above which the relay is slowed down and gives page cache back.";
      };
      memoryMax = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "8G";
        description = "Memory above which the relay is ended and started anew.";
      };
      openFiles = mkOption {
        type = types.ints.between 1024 1073741816;
        default = 65536;
        description = "Files and connections that the relay may have open: one for each host and each consumer.";
      };
    };
  };

  config = mkIf cfg.enable {
    systemd.services.relay = {
      description = builtins.head rendered.Unit.Description;
      after = unit.words rendered.Unit.After ++ optional cfg.database.createLocally "postgresql.target";
      wants = unit.words rendered.Unit.Wants;
      wantedBy = unit.words rendered.Install.WantedBy;
      unitConfig =
        builtins.mapAttrs (_: values: mkDefault (unit.one values)) (
          builtins.removeAttrs rendered.Unit [
            "Description"
            "After"
            "Wants"
            "RequiresMountsFor"
          ]
        )
        // {
          RequiresMountsFor = directories;
        };
      serviceConfig =
        builtins.mapAttrs (_: values: mkDefault (unit.one values)) (
          builtins.removeAttrs rendered.Service (own ++ [ "ReadWritePaths" ])
        )
        // {
          Group = cfg.group;
          ReadWritePaths = directories;
          ExecStart = lib.concatStringsSep " " (
            [
              "${cfg.package}/bin/relay"
              "serve"
            ]
            ++ map lib.escapeShellArg cfg.extraArgs
          );
          # Reads the policy file again; nobody is disconnected by it.
          ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
          # The disk may be new, and its top belongs to root then.
          ExecStartPre = [
            "+${pkgs.coreutils}/bin/install -d -m 0750 -o ${cfg.user} -g ${cfg.group} ${lib.concatStringsSep " " directories}"
          ];
          LimitNOFILE = cfg.resources.openFiles;
          MemoryHigh = mkIf (cfg.resources.memoryHigh != null) cfg.resources.memoryHigh;
          MemoryMax = mkIf (cfg.resources.memoryMax != null) cfg.resources.memoryMax;
        };
    };

    # Where the unit starts, before anything can be said about its owner.
    systemd.tmpfiles.rules =
      map (directory: "d ${directory} 0750 ${cfg.user} ${cfg.group} - -") directories
      # What units tell Prometheus lies there, for the exporter of the machine.
      ++ optional (
        cfg.monitoring.enable || cfg.backup.enable || cfg.compare.others != [ ]
      ) "d /var/lib/relay-metrics 0755 root root - -";

    users.users = mkIf (cfg.user == "relay") {
      relay = {
        isSystemUser = true;
        inherit (cfg) group;
      };
    };
    users.groups = mkIf (cfg.group == "relay") { relay = { }; };

    environment.systemPackages = [
      cfg.package
      cfg.provisionPackage
    ];
  };
}
