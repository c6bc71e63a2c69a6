# What the small units beside the relay share.
{ lib }:
{
  # They run as the relay, behind it, and become nothing else.
  hardened = cfg: {
    Type = "oneshot";
    User = cfg.user;
    Group = cfg.group;
    WorkingDirectory = cfg.dataDir;
    UMask = "0077";
    # The relay goes first.
    Nice = 10;
    IOSchedulingClass = "idle";
    PrivateTmp = true;
    PrivateDevices = true;
    ProtectHome = true;
    ProtectSystem = "full";
    ProtectKernelTunables = true;
    ProtectKernelModules = true;
    ProtectControlGroups = true;
    NoNewPrivileges = true;
    CapabilityBoundingSet = lib.mkDefault "";
    RestrictNamespaces = true;
    RestrictSUIDSGID = true;
    LockPersonality = true;
    SystemCallArchitectures = "native";
  };
}
