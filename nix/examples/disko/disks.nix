# System: a mirror of two disks, of which either starts alone. Data: XFS on a disk of its own.
let
  byId = name: "/dev/disk/by-id/${name}";
  system = name: {
    type = "disk";
    device = byId name;
    content = {
      type = "gpt";
      partitions = {
        # The boot loader of machines that start the old way.
        bios = {
          size = "1M";
          type = "EF02";
        };
        esp = {
          size = "500M";
          type = "EF00";
          content = {
            type = "mdraid";
            name = "esp";
          };
        };
        root = {
          size = "100%";
          content = {
            type = "mdraid";
            name = "root";
          };
        };
      };
    };
  };
in
{
  disko.devices = {
    disk = {
      first = system "nvme-FIRST";
      second = system "nvme-SECOND";
      data = {
        type = "disk";
        device = byId "nvme-DATA";
        content = {
          type = "gpt";
          partitions.data = {
            size = "100%";
            content = {
              type = "filesystem";
              format = "xfs";
              extraArgs = [
                "-L"
                "relay-data"
              ];
              mountpoint = "/data";
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
    mdadm = {
      # The firmware reads it as if there were no mirror: what tells of it lies at the end.
      esp = {
        type = "mdadm";
        level = 1;
        metadata = "1.0";
        content = {
          type = "filesystem";
          format = "vfat";
          mountpoint = "/boot";
          mountOptions = [ "umask=0077" ];
        };
      };
      root = {
        type = "mdadm";
        level = 1;
        content = {
          type = "filesystem";
          format = "ext4";
          mountpoint = "/";
          mountOptions = [ "noatime" ];
        };
      };
    };
  };

  boot.swraid.enable = true;
  # Without an address mdadm's monitor does not start.
  boot.swraid.mdadmConf = "MAILADDR root";
  boot.loader.grub = {
    enable = true;
    efiSupport = true;
    efiInstallAsRemovable = true;
  };
  boot.initrd.availableKernelModules = [
    "nvme"
    "ahci"
    "sd_mod"
    "virtio_pci"
    "virtio_scsi"
    "virtio_blk"
  ];
}
