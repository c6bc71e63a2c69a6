{
  description = "A relay for the AT Protocol";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    disko = {
      url = "github:nix-community/disko";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      disko,
    }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each =
        make:
        lib.genAttrs systems (system: make (nixpkgs.legacyPackages.${system}.extend self.overlays.default));
      example =
        name:
        lib.nixosSystem {
          modules = [
            disko.nixosModules.disko
            self.nixosModules.stack
            ./nix/examples/${name}/configuration.nix
            {
              nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
              # Of examples that leave the machine to whoever has one.
              boot.loader.grub.enable = lib.mkDefault false;
              fileSystems."/" = lib.mkDefault {
                device = "/dev/disk/by-label/nixos";
                fsType = "ext4";
              };
            }
          ];
        };
    in
    {
      overlays.default = final: _: {
        atproto-relay = final.callPackage ./nix/package.nix { };
        atproto-relay-provision = final.callPackage ./nix/package.nix { program = "provision"; };
        atproto-relay-container = final.callPackage ./nix/container.nix { relay = final.atproto-relay; };
      };

      nixosModules = import ./nix/modules;

      nixosConfigurations.example = example "disko";

      packages = each (pkgs: {
        relay = pkgs.atproto-relay;
        provision = pkgs.atproto-relay-provision;
        container = pkgs.atproto-relay-container;
        default = pkgs.atproto-relay;
      });

      apps = each (
        pkgs:
        lib.mapAttrs (_: package: {
          type = "app";
          program = lib.getExe package;
          meta.description = package.meta.description;
        }) { inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) relay provision default; }
      );

      checks = each (
        pkgs:
        self.packages.${pkgs.stdenv.hostPlatform.system}
        // import ./nix/tests {
          inherit
            pkgs
            lib
            example
            disko
            ;
          modules = self.nixosModules;
        }
      );

      devShells = each (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });

      formatter = each (pkgs: pkgs.nixfmt);
    };
}
