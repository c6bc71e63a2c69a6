# The options of NixOS that the modules set, with the types that they have there. What is not here does not
# exist for the modules: a wrong name or type stops the evaluation as it would on a machine.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  option = type: mkOption { inherit type; };
  valued = type: default: mkOption { inherit type default; };
  on = valued types.bool false;
  list = type: valued (types.listOf type) [ ];
  set = type: valued (types.attrsOf type) { };
  atom = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
    types.path
    types.package
  ];
  # All lists, which are joined, or all single values, which have to be equal.
  unitValue = types.either (types.listOf atom) atom;
  unitSet = set unitValue;
  unitName = types.strMatching "[a-zA-Z0-9@%:_.-]+[.](service|socket|device|mount|automount|swap|target|path|timer|scope|slice)";
  yaml = types.attrsOf types.anything;

  unit = {
    enable = valued types.bool true;
    description = valued types.singleLineStr "";
    after = list unitName;
    before = list unitName;
    wants = list unitName;
    requires = list unitName;
    wantedBy = list unitName;
    unitConfig = unitSet;
  };
  service = types.submodule {
    options = unit // {
      environment = set (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      );
      path = list (
        types.oneOf [
          types.package
          types.str
        ]
      );
      serviceConfig = unitSet;
      script = valued types.lines "";
      preStart = valued types.lines "";
      restartTriggers = list types.unspecified;
      reloadTriggers = list types.unspecified;
    };
  };
  timer = types.submodule {
    options = unit // {
      timerConfig = unitSet;
    };
  };
  exporter =
    port: more:
    {
      enable = on;
      listenAddress = valued types.str "0.0.0.0";
      port = valued types.port port;
      extraFlags = list types.str;
      openFirewall = on;
    }
    // more;
  sshKeys.openssh.authorizedKeys.keys = list types.singleLineStr;
in
{
  options = {
    assertions = list types.unspecified;
    warnings = list types.str;

    environment.systemPackages = list types.package;
    environment.etc = set (
      types.submodule {
        options = {
          source = valued types.path "/dev/null";
          text = valued (types.nullOr types.lines) null;
          mode = valued types.str "symlink";
        };
      }
    );

    users.users = set (
      types.submodule {
        options = sshKeys // {
          isSystemUser = on;
          isNormalUser = on;
          group = valued types.str "";
          extraGroups = list types.str;
          home = valued types.path "/var/empty";
        };
      }
    );
    users.groups = set (types.submodule { options.members = list types.str; });

    systemd.services = set service;
    systemd.timers = set timer;
    systemd.tmpfiles.rules = list types.str;

    fileSystems = set (
      types.submodule {
        options = {
          device = valued (types.nullOr types.str) null;
          fsType = valued types.str "auto";
          options = valued (types.listOf types.str) [ "defaults" ];
          autoFormat = on;
          label = valued (types.nullOr types.str) null;
          neededForBoot = on;
        };
      }
    );

    boot.kernel.sysctl = valued (types.attrsOf (
      types.nullOr (
        types.oneOf [
          types.bool
          types.str
          types.int
        ]
      )
    )) { };
    boot.kernelModules = list types.str;
    boot.loader.grub = {
      enable = on;
      devices = list types.str;
      efiSupport = on;
      efiInstallAsRemovable = on;
    };
    boot.initrd.availableKernelModules = list types.str;
    boot.swraid.enable = on;
    boot.swraid.mdadmConf = valued types.lines "";

    networking.hostName = valued (types.strMatching "^$|^[[:alnum:]]([[:alnum:]_-]{0,61}[[:alnum:]])?$") "nixos";
    networking.firewall.enable = valued types.bool true;
    networking.firewall.allowedTCPPorts = list types.port;
    system.stateVersion = option types.str;
    security.sudo.wheelNeedsPassword = valued types.bool true;
    nix.settings.trusted-users = list types.str;
    time.timeZone = valued (types.nullOr types.str) null;

    services.openssh.enable = on;
    services.openssh.ports = valued (types.listOf types.port) [ 22 ];
    services.openssh.settings = set (
      types.nullOr (
        types.oneOf [
          types.bool
          types.int
          types.str
        ]
      )
    );

    services.caddy = {
      enable = on;
      package = valued types.package pkgs.caddy;
      configFile = valued types.path "/etc/caddy/Caddyfile";
      adapter = valued (types.nullOr types.str) null;
      email = valued (types.nullOr types.str) null;
      environmentFile = valued (types.nullOr types.path) null;
    };

    services.postgresql = {
      enable = on;
      package = valued types.package pkgs.postgresql;
      dataDir = valued types.path "/var/lib/postgresql/17";
      enableTCPIP = on;
      authentication = valued types.lines "";
      ensureDatabases = list types.str;
      ensureUsers = list (
        types.submodule {
          options = {
            name = option types.str;
            ensureDBOwnership = on;
            ensureClauses = {
              createdb = valued (types.nullOr types.bool) null;
              superuser = valued (types.nullOr types.bool) null;
              login = valued (types.nullOr types.bool) null;
            };
          };
        }
      );
      initdbArgs = list types.str;
      settings = set (
        types.nullOr (
          types.oneOf [
            types.bool
            types.float
            types.int
            types.str
          ]
        )
      );
    };

    services.prometheus = {
      enable = on;
      listenAddress = valued types.str "0.0.0.0";
      port = valued types.port 9090;
      retentionTime = valued (types.nullOr types.str) null;
      globalConfig = {
        scrape_interval = valued (types.nullOr types.str) null;
        evaluation_interval = valued (types.nullOr types.str) null;
        external_labels = valued (types.nullOr (types.attrsOf types.str)) null;
      };
      ruleFiles = list types.path;
      alertmanagers = list types.attrs;
      scrapeConfigs = list (
        types.submodule {
          options = {
            job_name = option types.str;
            metrics_path = valued (types.nullOr types.str) null;
            params = valued (types.nullOr (types.attrsOf (types.listOf types.str))) null;
            static_configs = valued (types.nullOr (
              types.listOf (
                types.submodule {
                  options = {
                    targets = option (types.listOf types.str);
                    labels = set types.str;
                  };
                }
              )
            )) null;
            relabel_configs = valued (types.nullOr (
              types.listOf (
                types.submodule {
                  options = {
                    source_labels = valued (types.nullOr (types.listOf types.str)) null;
                    target_label = valued (types.nullOr types.str) null;
                    replacement = valued (types.nullOr types.str) null;
                  };
                }
              )
            )) null;
          };
        }
      );
      exporters = {
        node = exporter 9100 { enabledCollectors = list types.str; };
        postgres = exporter 9187 {
          runAsLocalSuperUser = on;
          dataSourceName = valued types.str "";
        };
        blackbox = exporter 9115 { configFile = valued types.path "/etc/blackbox.yml"; };
      };
      alertmanager = {
        enable = on;
        listenAddress = valued types.str "";
        port = valued types.port 9093;
        extraFlags = list types.str;
        configuration = valued (types.nullOr types.attrs) null;
      };
    };

    services.grafana = {
      enable = on;
      dataDir = valued types.path "/var/lib/grafana";
      # Without a default since NixOS 26.05.
      settings.security.secret_key = valued (types.nullOr types.str) null;
      settings.server.http_addr = valued types.str "127.0.0.1";
      settings.server.http_port = valued types.port 3000;
      provision = {
        enable = on;
        datasources.settings = valued (types.nullOr yaml) null;
        dashboards.settings = valued (types.nullOr yaml) null;
      };
    };

    # Of disko, for the examples.
    disko.devices = {
      disk = set yaml;
      mdadm = set yaml;
    };
  };

  # As NixOS has it for everyone: a definition of our modules has to win or agree.
  config = {
    assertions = [
      {
        assertion =
          config.services.grafana.enable -> config.services.grafana.settings.security.secret_key != null;
        message = "services.grafana.settings.security.secret_key has no default";
      }
    ];
    services.postgresql.settings.listen_addresses = "localhost";
    services.postgresql.settings.jit = lib.mkDefault "off";
    boot.kernel.sysctl."net.core.rmem_max" = lib.mkDefault 2500000;
  };
}
