# The package, called with functions that give back what they are given: which files it is made of, and
# under which flags.
{ lib }:
let
  named = path: {
    name = toString path;
    value = builtins.pathExists path;
  };
  helpers = lib // {
    fileset = {
      unions = paths: builtins.listToAttrs (map named paths);
      toSource = { root, fileset }: { inherit root fileset; };
    };
    licenses = {
      mit = "MIT";
      asl20 = "Apache-2.0";
    };
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
  package =
    program:
    import ../../package.nix {
      lib = helpers;
      stdenv = {
        buildPlatform.canExecute = _: true;
        hostPlatform = { };
      };
      rustPlatform.buildRustPackage = given: given;
      installShellFiles = "installShellFiles";
      cmake = "cmake";
      inherit program;
    };
  tools = {
    lib = helpers // {
      concatMapStringsSep =
        separator: f: values:
        lib.concatStringsSep separator (map f values);
      concatMapStrings = f: values: lib.concatStringsSep "" (map f values);
      removePrefix =
        prefix: text:
        if lib.hasPrefix prefix text then
          builtins.substring (builtins.stringLength prefix) (builtins.stringLength text) text
        else
          text;
    };
    dockerTools.streamLayeredImage = given: given;
    cacert = "/cacert";
    runCommand =
      _: _: script:
      script;
    relay = {
      outPath = "/relay";
      version = "0";
    };
  };
  facts = program: {
    inherit (package program)
      pname
      version
      buildType
      cargoBuildFlags
      cargoTestFlags
      postInstall
      meta
      ;
    files = (package program).src.fileset;
    lock = builtins.pathExists (package program).cargoLock.lockFile;
  };
in
{
  relay = facts "relay";
  provision = facts "provision";
  container = import ../../container.nix tools;
}
