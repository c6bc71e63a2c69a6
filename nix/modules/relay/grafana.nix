# The dashboards of the project in Grafana: for this machine, and where they have a name for everyone to
# look at.
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
    mkMerge
    mkOption
    types
    ;
  cfg = config.services.atproto-relay;
  inherit (cfg.monitoring) dashboardName;
  password = cfg.credentials.adminPasswordFile;
  dashboards = ../../../provision/assets/dashboards;

  # Who is let in, from the file that Ansible fills in; what that says of places is said below.
  template = builtins.readFile ../../../ansible/roles/monitoring/templates/grafana.conf.j2;
  words = builtins.filter builtins.isString (builtins.split "[ \n]+|Environment=" template);
  pairs = builtins.filter (pair: pair != null) (
    map (builtins.match "(GF_[A-Z_]+)=([A-Za-z0-9.]+)") words
  );
  environment = builtins.listToAttrs (
    map (pair: {
      name = builtins.head pair;
      value = builtins.elemAt pair 1;
    }) pairs
  );

  key = "${config.services.grafana.dataDir}/relay-secret-key";
  makeKey = pkgs.writeShellScript "relay-grafana-key" ''
    set -eu
    umask 077
    [ -s ${key} ] || { head -c 32 /dev/urandom | base64 >${key}.partial && mv ${key}.partial ${key}; }
  '';
in
{
  options.services.atproto-relay.monitoring = {
    grafana = mkOption {
      type = types.bool;
      default = dashboardName != null;
      defaultText = "whether `monitoring.dashboardName` is set";
      description = "Whether Grafana on this machine shows the dashboards of the project.";
    };
    dashboardName = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*");
      default = null;
      example = "dash.relay.example.com";
      description = "Public name of the dashboards, which everyone may look at and nobody change.";
    };
  };

  config = mkIf (cfg.enable && cfg.monitoring.enable && cfg.monitoring.grafana) (mkMerge [
    {
      services.grafana = {
        enable = true;
        # Each machine has a key of its own.
        settings.security.secret_key = mkDefault "$__file{${key}}";
        provision = {
          enable = true;
          datasources.settings.datasources = [
            {
              name = "relay";
              uid = "relay";
              type = "prometheus";
              url = "http://127.0.0.1:9090";
              isDefault = true;
            }
          ];
          dashboards.settings.providers = [
            {
              name = "relay";
              type = "file";
              options.path = "${dashboards}";
            }
          ];
        };
      };
      systemd.services.grafana = {
        environment = environment // {
          GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH = "${dashboards}/relay.json";
        };
        serviceConfig.ExecStartPre = [ makeKey ];
      };
    }
    (mkIf (password != null) {
      systemd.services.grafana.serviceConfig = {
        LoadCredential = [ "relay-admin-password:${password}" ];
        Environment = [ "GF_SECURITY_ADMIN_PASSWORD__FILE=%d/relay-admin-password" ];
      };
    })
    (mkIf (dashboardName != null) {
      systemd.services.grafana.environment.GF_SERVER_ROOT_URL = "https://${dashboardName}/";
      systemd.services.caddy.environment = {
        RELAY_CADDY_MORE = "import ${../../../provision/assets/dashboard.caddy}";
        RELAY_DASHBOARD_SITE = dashboardName;
      };

      assertions = [
        {
          assertion = cfg.caddy.enable;
          message = "services.atproto-relay.monitoring.dashboardName is served by Caddy: set `caddy.enable`, or leave the name out and look through a tunnel";
        }
        {
          assertion = password != null;
          message = "services.atproto-relay.monitoring.dashboardName makes Grafana public, and its first password is known to everyone: set `credentials.adminPasswordFile`, which it gets, too";
        }
      ];
    })
  ]);
}
