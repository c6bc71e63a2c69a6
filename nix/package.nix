# The relay, or with `program = "provision"` the operators' program.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  cmake,
  program ? "relay",
}:
let
  inherit (lib) fileset;
  root = ../.;
  manifest = builtins.fromTOML (builtins.readFile ../Cargo.toml);
  about = builtins.fromTOML (builtins.readFile (root + "/${program}/Cargo.toml"));
in
rustPlatform.buildRustPackage {
  pname = program;
  inherit (manifest.workspace.package) version;

  # What a build reads: a change of the documents builds nothing anew.
  src = fileset.toSource {
    inherit root;
    fileset = fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../Caddyfile
      ../docs/crash-points.md
      ../relay
      ../provision
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  # As what ships is built elsewhere.
  buildType = "dist";
  cargoBuildFlags = [
    "--package"
    program
    "--bin"
    program
  ];
  checkType = "dist";
  # What needs no database and no network; the whole proof is `provision/test`.
  cargoTestFlags = [
    "--package"
    "relay-protocol"
  ];

  nativeBuildInputs = [
    installShellFiles
    cmake
  ];
  dontUseCmakeConfigure = true;

  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) (
    ''
      installShellCompletion --cmd ${program} \
        --bash <($out/bin/${program} completions bash) \
        --zsh <($out/bin/${program} completions zsh) \
        --fish <($out/bin/${program} completions fish)
    ''
    + (
      if program == "relay" then
        ''
          $out/bin/relay man > relay.1
          installManPage relay.1
        ''
      else
        ''
          $out/bin/provision man man
          installManPage man/*.1
        ''
    )
  );

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    $out/bin/${program} --version | grep -F ${manifest.workspace.package.version}
    runHook postInstallCheck
  '';

  meta = {
    inherit (about.package) description;
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = program;
    platforms = lib.platforms.linux;
  };
}
