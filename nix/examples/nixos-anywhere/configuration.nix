# NixOS on a machine that Terraform made or that was rented: `host.json` is its contract, which says the
# name and the disks.
#
#   terraform -chdir=terraform output -json host > host.json
#   nix run github:nix-community/nixos-anywhere -- --flake .#relay --target-host root@192.0.2.10
#
# The second erases the disks that are named here, and ends in a relay that serves.
{ lib, ... }:
let
  host = builtins.fromJSON (builtins.readFile ./host.json);
  # The disk of the system, as `ls /dev/disk/by-id` shows it in the rescue system.
  system = "/dev/disk/by-id/nvme-SYSTEM";
  data = disk: {
    name = baseNameOf disk.mount;
    value = {
      type = "disk";
      device = disk.by_id;
      content = {
        type = "gpt";
        partitions.data = {
          size = "100%";
          content = {
            type = "filesystem";
            format = "xfs";
            mountpoint = disk.mount;
            mountOptions = [
              "noatime"
              "nofail"
              "logbufs=8"
              "logbsize=256k"
            ];
          };
        };
      };
    };
  };
in
{
  networking.hostName = host.name;

  services.atproto-relay-stack = {
    enable = true;
    hostname = "${host.name}.example.com";
  };
  services.atproto-relay.dataDir = (builtins.head host.data_disks).mount;

  disko.devices.disk = builtins.listToAttrs (map data host.data_disks) // {
    system = {
      type = "disk";
      device = system;
      content = {
        type = "gpt";
        partitions = {
          bios = {
            size = "1M";
            type = "EF02";
          };
          root = {
            size = "100%";
            content = {
              type = "filesystem";
              format = "ext4";
              mountpoint = "/";
            };
          };
        };
      };
    };
  };
  boot.loader.grub.enable = true;
  boot.initrd.availableKernelModules = [
    "nvme"
    "ahci"
    "sd_mod"
    "virtio_pci"
    "virtio_scsi"
    "virtio_blk"
  ];

  services.openssh = {
    enable = true;
    settings.PasswordAuthentication = lib.mkDefault false;
  };
  # Whoever installs it comes in again.
  users.users.root.openssh.authorizedKeys.keys = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl you@example.com"
  ];

  system.stateVersion = "26.05";
}
