# NixOS on a machine that Terraform made, that was rented, or that is there: `host.json` is its contract, as
# `just deploy` writes it. What you change here stays.
{ lib, pkgs, ... }:
let
  host = builtins.fromJSON (builtins.readFile ./host.json);
  isRoot = host.ssh_user == "root";
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
    hostname = host.hostname;
  };
  services.atproto-relay = {
    dataDir = (builtins.head host.data_disks).mount;
    settings = host.settings;
    credentials.adminPasswordFile = host.admin_password_file;
  };

  disko.devices.disk = builtins.listToAttrs (map data host.data_disks) // {
    system = {
      type = "disk";
      device = host.system_disk;
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
    ports = [ host.ssh_port ];
    settings.PasswordAuthentication = lib.mkDefault false;
  };
  # Whoever installs it comes in again, by the same name.
  users.users =
    lib.optionalAttrs (!isRoot) {
      ${host.ssh_user} = {
        isNormalUser = true;
        extraGroups = [ "wheel" ];
        openssh.authorizedKeys.keys = host.ssh_keys;
      };
    }
    // lib.optionalAttrs isRoot {
      root.openssh.authorizedKeys.keys = host.ssh_keys;
    };
  security.sudo.wheelNeedsPassword = false;
  nix.settings.trusted-users = [ "@wheel" ];

  # What `just status` asks with.
  environment.systemPackages = [ pkgs.python3 ];

  system.stateVersion = "26.05";
}
