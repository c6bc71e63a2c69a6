# The disk of the event log.
{ config, lib, ... }:
let
  inherit (lib)
    mkIf
    mkOption
    optional
    types
    ;
  cfg = config.services.atproto-relay;
  disk = cfg.storage;
in
{
  options.services.atproto-relay.storage = {
    device = mkOption {
      type = types.nullOr (types.strMatching "/dev/[^ \n]+");
      default = null;
      example = "/dev/disk/by-id/nvme-SAMSUNG_MZVL21T0HCLR-00B00_S676NX0R100000";
      description = "Disk with XFS that is mounted at `dataDir`. Without it and `label` the directory lies where it lies.";
    };
    label = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9_-]{1,12}");
      default = null;
      example = "relay-data";
      description = "Label of the file system, instead of `device`. XFS has room for twelve characters.";
    };
    options = mkOption {
      type = types.listOf types.str;
      default = [
        "noatime"
        "nofail"
        "logbufs=8"
        "logbsize=256k"
      ];
      description = "Options of mount. `nofail`: a machine whose data disk is gone still lets people in.";
    };
    formatEmpty = mkOption {
      type = types.bool;
      default = false;
      description = "Makes a file system where there is none. A disk that holds something is left alone.";
    };
  };

  config = mkIf cfg.enable {
    fileSystems = mkIf (disk.device != null || disk.label != null) {
      ${cfg.dataDir} = {
        device = if disk.device != null then disk.device else "/dev/disk/by-label/${disk.label}";
        fsType = "xfs";
        inherit (disk) options;
        autoFormat = disk.formatEmpty;
      };
    };

    assertions = [
      {
        assertion = disk.device == null || disk.label == null;
        message = "services.atproto-relay.storage: name the disk by `device` or by `label`, not by both";
      }
      {
        assertion = disk.formatEmpty -> disk.device != null;
        message = "services.atproto-relay.storage.formatEmpty needs `device`: an empty disk has no label";
      }
    ]
    ++ optional (disk.device != null && disk.formatEmpty) {
      assertion = builtins.match "/dev/(sd|vd|nvme[0-9]+n)[a-z0-9]+" disk.device == null;
      message = "services.atproto-relay.storage.device is ${disk.device}, and such names change between starts: name it by /dev/disk/by-id, or another disk is formatted";
    };
  };
}
