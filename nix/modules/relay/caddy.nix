# The front door: TLS, and nothing but what the public may reach. The rules are those of the Caddyfile.
{ config, lib, ... }:
let
  inherit (lib)
    mkDefault
    mkEnableOption
    mkIf
    mkOption
    optionalAttrs
    types
    ;
  cfg = config.services.atproto-relay;
  hostname = types.strMatching "[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*";
  # `:PORT` is every address of this machine.
  reached = address: if lib.hasPrefix ":" address then "127.0.0.1${address}" else address;
in
{
  options.services.atproto-relay = {
    caddy = {
      enable = mkEnableOption "Caddy before the relay, with certificates for `hostname`";
      names = mkOption {
        type = types.listOf hostname;
        default = [ ];
        example = [ "firehose.example.com" ];
        description = "More names of the relay.";
      };
      email = mkOption {
        type = types.nullOr (types.strMatching "[^@ \n]+@[^@ \n]+");
        default = null;
        example = "ops@example.com";
        description = "Whom the authority of the certificates may write to.";
      };
      issuer = mkOption {
        type = types.enum [
          "acme"
          "internal"
        ];
        default = "acme";
        description = "Who makes certificates: an authority that the world trusts, or one that Caddy makes.";
      };
      authority = mkOption {
        type = types.nullOr (types.strMatching "https://[^ \n]+");
        default = null;
        example = "https://acme-staging-v02.api.letsencrypt.org/directory";
        description = "Directory of the ACME authority, where it is not that of Let's Encrypt.";
      };
      adminAllow = mkOption {
        type = types.listOf (types.strMatching "[0-9a-fA-F.:]+(/[0-9]+)?");
        default = [ ];
        example = [ "192.0.2.0/24" ];
        description = "Addresses and networks that reach admin API and dashboard from outside, besides the password. Nobody does unless this says so.";
      };
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Opens the ports of Caddy, or that of the firehose where there is no Caddy. Metrics and the admin API stay closed.";
    };
  };

  config = mkIf cfg.enable {
    services.atproto-relay.settings.trusted_proxies = mkIf cfg.caddy.enable (mkDefault [
      "127.0.0.1"
      "::1"
    ]);

    services.caddy = mkIf cfg.caddy.enable {
      enable = true;
      configFile = ../../../Caddyfile;
      adapter = "caddyfile";
    };

    systemd.services.caddy = mkIf cfg.caddy.enable {
      environment = {
        RELAY_SITE = lib.concatStringsSep ", " (
          [ (if cfg.hostname == null then "localhost" else cfg.hostname) ] ++ cfg.caddy.names
        );
        RELAY_UPSTREAM = reached cfg.settings.api_bind;
        RELAY_ADMIN_UPSTREAM = reached cfg.settings.admin_bind;
        RELAY_ADMIN_ALLOW = lib.concatStringsSep " " cfg.caddy.adminAllow;
        RELAY_TLS_ISSUER = cfg.caddy.issuer;
      }
      // optionalAttrs (cfg.caddy.email != null) { RELAY_ACME_EMAIL = cfg.caddy.email; }
      // optionalAttrs (cfg.caddy.authority != null) { RELAY_ACME_CA = cfg.caddy.authority; };
      # A connection for each consumer, and one to the relay.
      serviceConfig.LimitNOFILE = 1048576;
    };

    networking.firewall.allowedTCPPorts = mkIf cfg.openFirewall (
      if cfg.caddy.enable then
        [
          80
          443
        ]
      else
        [ (builtins.fromJSON (builtins.head (builtins.match ".*:([0-9]+)" cfg.settings.api_bind))) ]
    );

    assertions = [
      {
        assertion = cfg.caddy.enable -> cfg.hostname != null;
        message = "services.atproto-relay.caddy needs a name for its certificates: set `services.atproto-relay.hostname`";
      }
      {
        assertion =
          cfg.caddy.enable -> builtins.compareVersions config.services.caddy.package.version "2.11" >= 0;
        message = "the Caddyfile of the relay needs Caddy 2.11 or newer, and this is ${config.services.caddy.package.version}: set `services.caddy.package` to that of a newer nixpkgs";
      }
      {
        assertion = cfg.caddy.authority != null -> cfg.caddy.issuer == "acme";
        message = "services.atproto-relay.caddy.authority is not asked when the issuer is `internal`: leave one of the two out";
      }
    ];
  };
}
