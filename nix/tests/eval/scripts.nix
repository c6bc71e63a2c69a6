# The tests that need machines: their scripts, for Python to read, and their machines, evaluated as the
# others.
{ lib, evaluate }:
let
  files = builtins.filter (name: builtins.match ".*[.]nix" name != null && name != "default.nix") (
    builtins.attrNames (builtins.readDir ../.)
  );
  free = lib.mkOption {
    type = lib.types.attrs;
    default = { };
  };
  # What only such tests set.
  more.options = {
    virtualisation = free;
    specialisation = free;
    networking.hosts = free;
  };
  one =
    file:
    let
      test = import (../. + "/${file}") {
        lib = lib // {
          trivial.release = "26.05";
        };
        modules = import ../../modules;
        simnet = {
          type = "derivation";
          name = "simnet";
          outPath = "/simnet";
        };
      };
      machine =
        module:
        let
          inherit
            (evaluate [
              more
              module
            ])
            config
            ;
        in
        {
          units = builtins.attrNames config.systemd.services;
          wrong = map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
        };
      nodes.relay.networking.primaryIPAddress = "192.0.2.1";
      given = test.testScript;
    in
    {
      script = if builtins.isFunction given then given { inherit nodes; } else given;
      machines = builtins.mapAttrs (_: machine) test.nodes;
    };
in
builtins.listToAttrs (
  map (file: {
    name = file;
    value = one file;
  }) files
)
