# Exporters, the alerts and dashboards of the project, and Prometheus. All of it listens on this machine
# alone.
{
  config,
  lib,
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
  assets = ../../../provision/assets;
  loopback = "127.0.0.1";
  job = name: port: {
    job_name = name;
    static_configs = [ { targets = [ "${loopback}:${toString port}" ]; } ];
  };
  # The relay by its public name: whether it answers, and until when its certificate is valid.
  public = {
    job_name = "public";
    metrics_path = "/probe";
    params.module = [ "relay" ];
    static_configs = [ { targets = [ "https://${cfg.hostname}/xrpc/_health" ]; } ];
    relabel_configs = [
      {
        source_labels = [ "__address__" ];
        target_label = "__param_target";
      }
      {
        source_labels = [ "__param_target" ];
        target_label = "instance";
      }
      {
        target_label = "__address__";
        replacement = "${loopback}:9115";
      }
    ];
  };
in
{
  options.services.atproto-relay.monitoring = {
    enable = mkEnableOption "Prometheus with the alerts of the project, and exporters of machine and database";
    keep = mkOption {
      type = types.strMatching "[0-9]+[hdwy]";
      default = "30d";
      description = "How long Prometheus keeps what it collects.";
    };
    receivers = mkOption {
      type = types.listOf (types.attrsOf types.anything);
      default = [ ];
      example = [ { webhook_configs = [ { url = "https://example.com/hook"; } ]; } ];
      description = "Where alerts go, as receivers of Alertmanager are written. Empty: they are shown and sent nowhere.";
    };
  };

  config = mkIf (cfg.enable && cfg.monitoring.enable) {
    services.prometheus = {
      enable = true;
      listenAddress = loopback;
      retentionTime = cfg.monitoring.keep;
      globalConfig = {
        scrape_interval = mkDefault "15s";
        evaluation_interval = mkDefault "30s";
        external_labels.relay = config.networking.hostName;
      };
      ruleFiles = [ (assets + "/alerts/relay.yml") ];
      alertmanagers = [ { static_configs = [ { targets = [ "${loopback}:9093" ]; } ]; } ];
      scrapeConfigs = [
        {
          job_name = "relay";
          static_configs = [ { targets = [ cfg.settings.metrics_bind ]; } ];
        }
        (job "machine" 9100)
        (job "prometheus" 9090)
      ]
      ++ optional cfg.caddy.enable (job "caddy" 2473)
      ++ optional cfg.database.createLocally (job "postgres" 9187)
      ++ optional (cfg.hostname != null && cfg.caddy.enable) public;

      exporters.node = {
        enable = true;
        listenAddress = loopback;
        extraFlags = [ "--collector.textfile.directory=/var/lib/relay-metrics" ];
      };
      exporters.postgres = mkIf cfg.database.createLocally {
        enable = true;
        listenAddress = loopback;
        runAsLocalSuperUser = true;
      };
      exporters.blackbox = mkIf (cfg.hostname != null && cfg.caddy.enable) {
        enable = true;
        listenAddress = loopback;
        configFile = ../../../ansible/roles/monitoring/files/blackbox.yml;
      };
      alertmanager = {
        enable = true;
        listenAddress = loopback;
        extraFlags = [ "--cluster.listen-address=" ];
        configuration = {
          route = {
            receiver = "operators";
            group_by = [ "alertname" ];
            repeat_interval = "12h";
          };
          receivers = [
            (builtins.foldl' (all: receiver: all // receiver) { name = "operators"; } cfg.monitoring.receivers)
          ];
        };
      };
    };
  };
}
