# The flake, given inputs that are stand-ins: which outputs it has, and that the example is a machine. And a
# flake of a user, who has ours as an input.
{
  lib,
  evaluate,
  user ? "",
}:
let
  system = "x86_64-linux";
  packages = {
    stdenv.hostPlatform = { inherit system; };
    callPackage = path: _: {
      name = baseNameOf path;
      meta.description = "a package";
      overrideAttrs = _: "simnet";
    };
    extend = overlay: packages // overlay packages packages;
    testers.runNixOSTest = test: test.name;
    nixfmt = "nixfmt";
  };
  inputs = {
    self = outputs;
    nixpkgs = {
      lib = lib // rec {
        genAttrs =
          names: make:
          builtins.listToAttrs (
            map (name: {
              inherit name;
              value = make name;
            }) names
          );
        mapAttrs = builtins.mapAttrs;
        inherit (builtins) listToAttrs;
        getExe = package: package.name;
        hasSuffix = suffix: text: builtins.match ".*${suffix}" text != null;
        removeSuffix = suffix: text: builtins.head (builtins.match "(.*)${suffix}" text);
        filterAttrs =
          keep: values:
          builtins.removeAttrs values (
            builtins.filter (name: !keep name values.${name}) (builtins.attrNames values)
          );
        nixosSystem =
          { modules }:
          let
            found = evaluate (
              [
                {
                  options.nixpkgs.hostPlatform = lib.mkOption { type = lib.types.str; };
                  options.system.build.toplevel = lib.mkOption {
                    type = lib.types.str;
                    default = "built";
                  };
                }
              ]
              ++ modules
            );
          in
          found;
      };
      legacyPackages = {
        x86_64-linux = packages;
        aarch64-linux = packages;
      };
    };
    disko = {
      nixosModules.disko = { };
      lib.testLib.makeDiskoTest = test: test.name;
    };
  };
  outputs = (import ../../../flake.nix).outputs inputs;
in
{
  flake = {
    names = builtins.attrNames outputs;
    packages = builtins.attrNames outputs.packages.${system};
    apps = builtins.mapAttrs (_: app: app.type) outputs.apps.${system};
    modules = builtins.attrNames outputs.nixosModules;
    checks = builtins.mapAttrs (
      _: check: builtins.isString check || check ? name
    ) outputs.checks.${system};
    formatter = outputs.formatter.${system};
    example = outputs.nixosConfigurations.example.config.systemd.services.relay.description;
  };
  users =
    let
      make = (import (/. + user)).outputs;
      # A flake takes what it names as its inputs.
      theirs = make (
        builtins.intersectAttrs (builtins.functionArgs make) {
          self = { };
          inherit (inputs) nixpkgs disko;
          relay = outputs;
        }
      );
    in
    builtins.mapAttrs (
      _: host: host.config.systemd.services.relay.description
    ) theirs.nixosConfigurations;
}
