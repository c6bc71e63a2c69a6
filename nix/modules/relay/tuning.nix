# What `provision tune` derives from a machine, taken as it is: there is no second formula.
{ config, lib, ... }:
let
  inherit (lib)
    mkDefault
    mkIf
    mkMerge
    mkOption
    optional
    types
    ;
  cfg = config.services.atproto-relay;
  settings = import ../../lib/settings.nix { inherit lib; };
  isSet = cfg.tuning.plan != null;
  answer = builtins.fromJSON (builtins.readFile cfg.tuning.plan);
  refusals = builtins.filter (finding: finding.level == "refusal") answer.plan.findings;

  # Numbers are numbers in NixOS' options.
  value = text: if builtins.match "[0-9]{1,15}" text == null then text else builtins.fromJSON text;
  pairs =
    convert: values:
    builtins.listToAttrs (
      map (row: {
        inherit (row) name;
        value = convert row.value;
      }) values
    );
  plan = builtins.mapAttrs (_: pairs value) {
    inherit (answer.plan) postgres kernel unit;
  };
  relay = builtins.listToAttrs (
    map (row: rec {
      name = settings.keyOf.${row.name};
      value = mkDefault (settings.typed name row.value);
    }) answer.plan.relay
  );
in
{
  options.services.atproto-relay.tuning = {
    plan = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "./plan.json";
      description = ''
        What `provision tune --json` said on this machine, as a file beside the configuration. The relay,
        Postgres, the kernel and the unit get its numbers; what is set elsewhere wins.
      '';
    };
    kernel = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the kernel gets the numbers of the plan too. A container has the kernel of its machine.";
    };
  };

  config = mkIf cfg.enable (mkMerge [
    (mkIf isSet {
      services.atproto-relay = {
        settings = relay;
        resources = {
          memoryHigh = mkDefault plan.unit.MemoryHigh;
          memoryMax = mkDefault plan.unit.MemoryMax;
          openFiles = mkDefault plan.unit.LimitNOFILE;
        };
      };
      services.postgresql.settings = mkIf cfg.database.createLocally plan.postgres;
      boot.kernel.sysctl = mkIf cfg.tuning.kernel plan.kernel;
      boot.kernelModules = mkIf cfg.tuning.kernel [
        "tcp_bbr"
        "sch_fq"
      ];

      assertions = [
        {
          assertion = refusals == [ ];
          message = "services.atproto-relay.tuning.plan is refused: ${
            lib.concatStringsSep "; " (map (finding: "${finding.what}; ${finding.action}") refusals)
          }";
        }
        {
          assertion = (answer.wishes.database == "postgres") == cfg.database.createLocally;
          message = "services.atproto-relay.tuning.plan was made for the database `${answer.wishes.database}`: type `provision tune --database ${
            if cfg.database.createLocally then "postgres" else "sqlite"
          } --json` and take its answer";
        }
      ];
    })
    {
      warnings =
        optional (!isSet)
          "services.atproto-relay.tuning.plan is not set: type `provision tune --json > plan.json` on the machine, and name that file"
        ++
          optional (isSet && answer.facts.disk.path != cfg.dataDir)
            "services.atproto-relay.tuning.plan was made for ${answer.facts.disk.path}, and the data lie at ${cfg.dataDir}";
    }
  ]);
}
