# A rented server with two system disks, mirrored, and one for the data: what disko makes of them, and the
# relay on it. Look the names of the disks up in the rescue system, with `ls /dev/disk/by-id`.
{
  imports = [ ./disks.nix ];

  services.atproto-relay-stack = {
    enable = true;
    hostname = "relay.example.com";
  };
  # disks.nix mounts /data.
  services.atproto-relay = {
    dataDir = "/data/relay";
    database.dataDir = "/data/postgres";
  };

  services.openssh.enable = true;
  users.users.root.openssh.authorizedKeys.keys = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl you@example.com"
  ];

  system.stateVersion = "26.05";
}
