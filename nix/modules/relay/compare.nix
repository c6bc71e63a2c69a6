# What this relay gives beside what others give, by the clock.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.services.atproto-relay;
  hostname = types.strMatching "[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*";
  state = "/var/lib/relay-compare";
in
{
  options.services.atproto-relay.compare = {
    others = mkOption {
      type = types.listOf hostname;
      default = [ ];
      example = [ "bsky.network" ];
      description = "Public names of other relays with which this one is compared. The alerts on coverage need one.";
    };
    when = mkOption {
      type = types.str;
      default = "*:0/15";
      description = "When, as systemd writes times.";
    };
    duration = mkOption {
      type = types.strMatching "[0-9]+[smh]";
      default = "1m";
      description = "For how long. Every relay sends its whole stream meanwhile: a minute four times an hour is some 650 GB a month from each.";
    };
  };

  config = mkIf (cfg.enable && cfg.compare.others != [ ]) {
    systemd.services.relay-compare = {
      description = "Compare the relay with others";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      serviceConfig = (import ../../lib/helpers.nix { inherit lib; }).hardened cfg // {
        ExecStart = lib.concatStringsSep " " (
          [
            "${cfg.provisionPackage}/bin/provision"
            "compare"
            (toString cfg.hostname)
          ]
          ++ cfg.compare.others
          ++ [
            "--for"
            cfg.compare.duration
            "--prometheus"
            "${state}/coverage.prom"
            "--history"
            "${state}/history.jsonl"
            "--html"
            "${state}/coverage.html"
          ]
        );
        # Also when the relay was found wanting, which the program tells by failing.
        ExecStopPost = [
          "-+${pkgs.coreutils}/bin/mv --force ${state}/coverage.prom /var/lib/relay-metrics/relay_coverage.prom"
        ];
        StateDirectory = "relay-compare";
        # It is told events by strangers, and sees nothing of the relay beside it.
        InaccessiblePaths = [ "-${cfg.dataDir}" ];
        WorkingDirectory = state;
        UMask = "0022";
        ProtectSystem = "strict";
        MemoryMax = "1G";
      };
    };
    systemd.timers.relay-compare = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.compare.when;
        # Two relays that compare each other do not do it at the same moment.
        RandomizedDelaySec = "1min";
      };
    };

    assertions = [
      {
        assertion = cfg.hostname != null;
        message = "services.atproto-relay.compare needs the name by which this relay is reached: set `services.atproto-relay.hostname`";
      }
    ];
  };
}
