# Packages as far as their paths go, and files with their texts. With `realise` the files are written, below
# NIX_STORE_DIR, for real programs to read.
{
  realise ? false,
}:
let
  package = name: {
    type = "derivation";
    inherit name;
    version = "0";
    outPath = "/nix/store/${builtins.hashString "md5" name}-${name}";
  };
  file =
    name: text:
    package "${builtins.hashString "md5" text}-${name}"
    // {
      inherit text;
    }
    // (if realise then { outPath = builtins.toFile name text; } else { });
in
{
  writeText = file;
  writeShellScript = name: text: file name "#!/bin/sh\n${text}";
  callPackage = path: arguments: package "${arguments.program or "relay"}-from-${baseNameOf path}";
  coreutils = package "coreutils";
  python3 = package "python3";
  caddy = package "caddy" // {
    version = "2.11.0";
  };
  postgresql = package "postgresql" // {
    psqlSchema = "17";
  };
}
