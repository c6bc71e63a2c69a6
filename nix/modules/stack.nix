# Everything of a relay by one name: Postgres, Caddy, alerts, backups, hosts. What it sets can be set
# otherwise.
{ config, lib, ... }:
let
  inherit (lib)
    mkDefault
    mkEnableOption
    mkIf
    mkOption
    types
    ;
  cfg = config.services.atproto-relay-stack;
in
{
  imports = [ ./relay ];

  options.services.atproto-relay-stack = {
    enable = mkEnableOption "a whole relay: the relay, Postgres, Caddy, Prometheus, backups and the hosts that others know";
    hostname = mkOption {
      type = types.strMatching "[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+";
      example = "relay.example.com";
      description = "Public name of the relay, which leads to this machine.";
    };
  };

  config = mkIf cfg.enable {
    services.atproto-relay = {
      enable = true;
      hostname = cfg.hostname;
      openFirewall = mkDefault true;
      database.createLocally = mkDefault true;
      caddy.enable = mkDefault true;
      bootstrap.enable = mkDefault true;
      monitoring.enable = mkDefault true;
      backup.enable = mkDefault true;
    };
  };
}
