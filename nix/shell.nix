# What `provision/test` needs, besides Docker and the compiler that rust-toolchain.toml names.
{
  mkShell,
  ansible-lint,
  caddy,
  cmake,
  just,
  mmdebstrap,
  nix,
  nodejs,
  openssh,
  postgresql,
  prometheus,
  python3,
  rustup,
  shellcheck,
  terraform,
  xfsprogs,
}:
mkShell {
  packages = [
    ansible-lint
    caddy
    cmake
    just
    mmdebstrap
    nix
    nodejs
    openssh
    postgresql
    prometheus
    python3
    rustup
    shellcheck
    terraform
    xfsprogs
  ];
}
