# The modules, evaluated: what they must give, what they must refuse, and their texts for real programs.
# Needs Nix and nothing else:
#
#   nix-instantiate --eval --strict --json nix/tests/eval -A report
#   nix-instantiate --eval --strict nix/tests/eval -A bad.unknown-option
#
# With `--argstr nixpkgsLib PATH/TO/nixpkgs/lib` the module system is that of nixpkgs.
{
  nixpkgsLib ? "",
  realise ? false,
  user ? "",
}:
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    isAttrs
    listToAttrs
    map
    mapAttrs
    readDir
    toJSON
    ;
  lib = if nixpkgsLib == "" then import ./lib.nix else import (/. + nixpkgsLib);
  pkgs = import ./pkgs.nix { inherit realise; };

  evaluate =
    modules:
    lib.evalModules {
      modules = [
        ./nixos.nix
        ../../modules/stack.nix
      ]
      ++ modules;
      specialArgs = { inherit pkgs; };
    };

  # A machine as NixOS builds it: none with an assertion that fails.
  machine =
    module:
    let
      inherit (evaluate [ module ]) config;
      failed = filter (one: !one.assertion) config.assertions;
    in
    if failed == [ ] then
      config
    else
      throw "Failed assertions:\n- ${lib.concatStringsSep "\n- " (map (one: one.message) failed)}";

  # All that Nix would have to build of a machine, as far as the modules set it.
  parts = config: {
    inherit (config.systemd) services timers tmpfiles;
    inherit (config)
      fileSystems
      users
      warnings
      boot
      networking
      environment
      ;
    inherit (config.services)
      caddy
      postgresql
      prometheus
      grafana
      ;
  };

  look = module: rec {
    config = machine module;
    relay = config.services.atproto-relay;
    inherit (config.systemd) services timers;
    unit = services.relay.serviceConfig;
    env = relay.files.env.text;
    caddy = services.caddy.environment;
    everything = toJSON (parts config);
    is =
      found: wanted:
      if found == wanted then [ ] else [ "expected ${toJSON wanted}, found ${toJSON found}" ];
    has = text: part: if lib.hasInfix part text then [ ] else [ "there is no ${part} in ${text}" ];
    lacks = text: part: if lib.hasInfix part text then [ "there is a ${part} in ${text}" ] else [ ];
  };

  examples = listToAttrs (
    map (name: {
      name = "example-${name}";
      value = {
        module = ../../examples + "/${name}/configuration.nix";
        expect = m: m.is (m.unit.Type) "notify" ++ m.is m.relay.enable true;
      };
    }) (filter (name: name != "README.md") (attrNames (readDir ../../examples)))
  );
  good =
    import ./cases/settings.nix { inherit lib; }
    // import ./cases/relay.nix
    // import ./cases/around.nix
    // examples;
  bad = import ./cases/bad.nix;

  # A unit as systemd reads it, without what NixOS adds to every unit.
  unitText =
    unit:
    let
      shown =
        value: if builtins.isBool value then (if value then "true" else "false") else toString value;
      lines =
        name: value:
        concatMap (one: [ "${name}=${shown one}" ]) (if builtins.isList value then value else [ value ]);
      all = values: builtins.concatLists (map (name: lines name values.${name}) (attrNames values));
      words =
        name: values: if values == [ ] then [ ] else [ "${name}=${lib.concatStringsSep " " values}" ];
    in
    lib.concatStringsSep "\n" (
      [
        "[Unit]"
        "Description=${unit.description}"
      ]
      ++ words "After" unit.after
      ++ words "Wants" unit.wants
      ++ all unit.unitConfig
      ++ [ "[Service]" ]
      ++ map (name: "Environment=${toJSON "${name}=${unit.environment.${name}}"}") (
        attrNames unit.environment
      )
      ++ all unit.serviceConfig
      ++ [ "[Install]" ]
      ++ words "WantedBy" unit.wantedBy
    )
    + "\n";

  # For real programs: units, environments and settings of a configuration.
  program =
    module:
    let
      m = look module;
    in
    {
      inherit (m) env;
      units = mapAttrs (_: unitText) (
        removeAttrs m.services (filter (name: !lib.hasPrefix "relay" name) (attrNames m.services))
      );
      timers = mapAttrs (_: timer: timer.timerConfig.OnCalendar) m.timers;
      caddy = if m.services ? caddy then m.caddy else { };
      postgres = mapAttrs (_: toString) m.config.services.postgresql.settings;
      prometheus = m.config.services.prometheus.ruleFiles;
    };

  # Names of all options below a tree, those of the settings among them.
  optionsBelow =
    path: tree:
    concatMap (
      name:
      let
        here = tree.${name};
        one = {
          path = path ++ [ name ];
          type = here.type.description or "";
          default = builtins.tryEval (toJSON (here.default or null));
          description = here.description or "";
          required = !(here ? default);
        };
      in
      if !isAttrs here || name == "_module" then
        [ ]
      else if here._type or "" != "option" then
        optionsBelow (path ++ [ name ]) here
      else if here.internal or false then
        [ ]
      else if name == "settings" then
        [ one ] ++ optionsBelow one.path settingsOptions
      else
        [ one ]
    ) (attrNames tree);
  settingsOptions = (import ../../lib/settings.nix { inherit lib; }).options;
  inherit (evaluate [ ]) options;
  all =
    optionsBelow [ "services" "atproto-relay" ] options.services.atproto-relay
    ++ optionsBelow [ "services" "atproto-relay-stack" ] options.services.atproto-relay-stack;

  sets =
    module: path:
    path == [ ]
    || (
      isAttrs module
      && module ? ${builtins.head path}
      && sets module.${builtins.head path} (builtins.tail path)
    );
  # A module that is a file may be a function, whose options do not depend on what it is given.
  plain =
    module:
    let
      read = if isAttrs module then module else import module;
    in
    if builtins.isFunction read then read { inherit lib pkgs; } else read;
  casesOf = path: filter (name: sets (plain good.${name}.module) path) (attrNames good);
in
{
  report = {
    good = mapAttrs (_: case: case.expect (look case.module)) good;
    bad = mapAttrs (_: case: case.says) bad;
    options = map (
      option:
      option
      // {
        default = if option.default.success then option.default.value else "";
        cases = casesOf option.path;
      }
    ) all;
  };
  # All of some configurations, for comparing with what they were.
  kept =
    let
      whole =
        name:
        let
          m = look good.${name}.module;
        in
        parts m.config // { inherit (m) env; };
    in
    {
      full = whole "example-full";
      backups = whole "backups-elsewhere";
    };
  programs = listToAttrs (
    concatMap (
      name:
      if (machine good.${name}.module).services.atproto-relay.enable then
        [
          {
            inherit name;
            value = program good.${name}.module;
          }
        ]
      else
        [ ]
    ) (attrNames good)
  );
  bad = mapAttrs (
    _: case:
    let
      made = machine case.module;
    in
    builtins.deepSeq (toJSON (parts made)) "nothing was wrong"
  ) bad;
  package = import ./package.nix { inherit lib; };
  scripts = import ./scripts.nix { inherit lib evaluate; };
  inherit (import ./flake.nix { inherit lib evaluate user; }) flake users;
  # A module from outside, such as one that a page shows.
  shown = program (import (/. + user));
}
