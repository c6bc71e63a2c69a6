# A whole relay by one name, with the numbers of its machine, secrets from outside of the store, and
# encrypted backups elsewhere.
{
  networking.hostName = "relay";

  services.atproto-relay-stack = {
    enable = true;
    hostname = "relay.example.com";
  };

  services.atproto-relay = {
    dataDir = "/data/relay";
    # `provision tune --database postgres --path /data/relay --json > plan.json`, typed on the machine.
    tuning.plan = ./plan.json;
    storage.device = "/dev/disk/by-id/nvme-SAMSUNG_MZVL21T0HCLR-00B00_S676NX0R100000";

    settings = {
      contact = "mailto:relay@example.com";
      replay_window = "48h";
    };

    # Files that sops-nix, agenix or a person puts there.
    credentials.adminPasswordFile = "/run/secrets/relay-admin-password";

    caddy = {
      email = "ops@example.com";
      adminAllow = [ "192.0.2.0/24" ];
    };

    backup = {
      to = "s3://relay-backups/relay";
      environmentFiles = [ "/run/secrets/relay-backup.env" ];
      ageRecipients = [ "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p" ];
      withSecrets = true;
    };

    compare.others = [ "bsky.network" ];

    monitoring = {
      receivers = [ { webhook_configs = [ { url = "https://example.com/hook"; } ]; } ];
      dashboardName = "dash.relay.example.com";
    };
  };

  system.stateVersion = "26.05";
}
