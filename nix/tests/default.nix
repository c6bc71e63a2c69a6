# The tests that need machines, for `nix flake check` on one that has KVM. What needs none is in eval/.
{
  pkgs,
  lib,
  modules,
  example,
  disko,
}:
let
  simnet = pkgs.atproto-relay.overrideAttrs {
    pname = "simnet";
    cargoBuildFlags = [
      "--package"
      "relay-simnet"
      "--bin"
      "simnet"
    ];
    doCheck = false;
    doInstallCheck = false;
    postInstall = "";
  };
  named =
    suffix: directory:
    builtins.filter (lib.hasSuffix suffix) (builtins.attrNames (builtins.readDir directory));
  machines = builtins.filter (name: name != "default.nix") (named ".nix" ./.);
  examples = builtins.attrNames (
    lib.filterAttrs (_: kind: kind == "directory") (builtins.readDir ../examples)
  );
in
lib.listToAttrs (
  map (file: {
    name = "machine-${lib.removeSuffix ".nix" file}";
    value = pkgs.testers.runNixOSTest (import (./. + "/${file}") { inherit lib modules simnet; });
  }) machines
  ++ map (name: {
    name = "example-${name}";
    value = (example name).config.system.build.toplevel;
  }) examples
)
// {
  disks = disko.lib.testLib.makeDiskoTest {
    inherit pkgs;
    name = "relay-disks";
    disko-config = ../examples/disko/disks.nix;
    extraTestScript = ''
      machine.succeed("mountpoint /data")
      machine.succeed("xfs_info /data")
      machine.succeed("findmnt -no OPTIONS /data | grep -q noatime")
      machine.succeed("grep -q 'md.*raid1' /proc/mdstat")
    '';
  };
}
