# The hosts that other relays know, by the clock.
{
  config,
  lib,
  ...
}:
let
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    types
    ;
  cfg = config.services.atproto-relay;
  password = cfg.credentials.adminPasswordFile;
  file = if password == null then "${cfg.dataDir}/admin-password" else "%d/admin-password";
in
{
  options.services.atproto-relay.bootstrap = {
    enable = mkEnableOption "a timer that adds the hosts that other relays know";
    from = mkOption {
      type = types.listOf (types.strMatching "[^ \n%-][^ \n%]*");
      default = [ "bsky.network" ];
      description = "Relays, pages and files with names of hosts.";
    };
    when = mkOption {
      type = types.str;
      default = "daily";
      description = "When, as systemd writes times.";
    };
  };

  config = mkIf (cfg.enable && cfg.bootstrap.enable) {
    systemd.services.relay-hosts = {
      description = "Hosts that others know, for the relay";
      after = [
        "relay.service"
        "network-online.target"
      ];
      wants = [ "network-online.target" ];
      serviceConfig = (import ../../lib/helpers.nix { inherit lib; }).hardened cfg // {
        ExecStart = lib.concatStringsSep " " (
          [
            "${cfg.provisionPackage}/bin/provision"
            "hosts"
          ]
          ++ cfg.bootstrap.from
          ++ [
            "--add"
            "--env"
            "${cfg.files.env}"
            "--password-file"
            file
          ]
        );
        LoadCredential = mkIf (password != null) [ "admin-password:${password}" ];
      };
    };
    systemd.timers.relay-hosts = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.bootstrap.when;
        # A new relay does not wait for the first day to end.
        OnActiveSec = "2min";
        RandomizedDelaySec = "10min";
        Persistent = true;
      };
    };

    assertions = [
      {
        assertion = cfg.bootstrap.from != [ ];
        message = "services.atproto-relay.bootstrap.from is empty: name a relay, such as `bsky.network`, or leave `bootstrap.enable` out";
      }
    ];
  };
}
