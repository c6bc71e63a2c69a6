# The settings of the relay as options, from the table that the relay itself has (nix/settings.json).
{ lib }:
let
  inherit (lib) mkOption types;
  table = builtins.fromJSON (builtins.readFile ../settings.json);

  # What belongs to other options, and which.
  elsewhere = {
    config = "secrets come by `credentials`, everything else by `settings`";
    data_dir = "the directory is `services.atproto-relay.dataDir`";
    admin_passwords = "it is a secret, and settings are in the store for everyone: use `credentials.adminPasswordFile`";
    alert_webhook = "it is a secret, and settings are in the store for everyone: name a file of yours in `environmentFiles`";
    slack_alert_token = "it is a secret, and settings are in the store for everyone: name a file of yours in `environmentFiles`";
    otlp_headers = "they may hold a secret, and settings are in the store for everyone: name a file of yours in `environmentFiles`";
  };
  offered = builtins.filter (row: !(elsewhere ? ${row.key})) table;

  line = types.strMatching "[^\n]*";
  orAuto =
    row: type: if row.takes.auto or false then types.either (types.enum [ "auto" ]) type else type;
  typeOf =
    row:
    {
      number = orAuto row (types.ints.between row.takes.least row.takes.most);
      size = orAuto row (types.strMatching "[0-9]+([.][0-9]+)? ?([kKmMgGtT]i?)?[bB]?");
      duration = types.strMatching "([0-9]+ ?[a-z]+ ?)+";
      switch = types.bool;
      choice = types.enum row.takes.of;
      path = types.strMatching "/[^\n]*";
      day = types.strMatching "never|[0-9]{4}-[0-9]{2}-[0-9]{2}";
      address = types.strMatching "[^\n ]*:[0-9]+";
      list = types.listOf (types.strMatching "[^\n,]*");
      text = line;
    }
    .${row.takes.a};

  # Of some the default is a sentence, and of some there is none.
  isOpen =
    row:
    row.takes.a != "list" && (row.default == "" || lib.hasPrefix "<" row.default)
    || lib.hasPrefix "sqlite" row.default;
  defaultOf =
    row:
    if isOpen row then
      null
    else if row.takes.a == "list" then
      (if row.default == "" then [ ] else lib.splitString "," row.default)
    else if row.takes.a == "switch" then
      row.default == "true"
    else if row.takes.a == "number" && row.default != "auto" then
      builtins.fromJSON row.default
    else
      row.default;

  # A list is one in Nix, too.
  allowed =
    row:
    if row.takes.a == "list" then
      "a list of ${builtins.replaceStrings [ ", separated by commas" ] [ "" ] row.allowed}"
    else
      row.allowed;

  optionOf = row: {
    name = row.key;
    value = mkOption {
      type = if isOpen row then types.nullOr (typeOf row) else typeOf row;
      default = defaultOf row;
      description = "${row.doc} Takes ${allowed row}. In the environment it is `${row.env}`.";
    };
  };

  options = builtins.listToAttrs (map optionOf offered);

  shown =
    value:
    if builtins.isBool value then
      (if value then "true" else "false")
    else if builtins.isList value then
      lib.concatStringsSep "," value
    else
      toString value;
  rowOf = builtins.listToAttrs (
    map (row: {
      name = row.key;
      value = row;
    }) offered
  );
  envName = key: (rowOf.${key} or { env = key; }).env;
  isDefault = key: value: value == null || (rowOf ? ${key} && value == defaultOf rowOf.${key});
in
{
  inherit elsewhere rowOf options;

  type = types.submodule {
    freeformType = types.attrsOf (
      types.nullOr (
        types.oneOf [
          types.bool
          types.int
          line
          (types.listOf line)
        ]
      )
    );
    inherit options;
  };

  # Names that are neither a setting nor the name of something in the environment.
  unknown =
    settings:
    builtins.filter (key: !(rowOf ? ${key}) && builtins.match "[A-Z][A-Z0-9_]*" key == null) (
      builtins.attrNames settings
    );

  # Name in the environment to key.
  keyOf = builtins.listToAttrs (
    map (row: {
      name = row.env;
      value = row.key;
    }) offered
  );

  # A text as the type of its setting wants it.
  typed =
    key: text:
    let
      inherit (rowOf.${key}.takes) a;
    in
    if a == "number" && text != "auto" then builtins.fromJSON text else text;

  # Lines for the environment: what differs from the defaults of the relay.
  environment =
    settings:
    let
      keys = builtins.filter (key: !(isDefault key settings.${key})) (builtins.attrNames settings);
      pair = key: {
        name = envName key;
        value = shown settings.${key};
      };
    in
    builtins.listToAttrs (map pair keys);

  # A file of such lines, as systemd, the relay and `provision` read it.
  envText =
    environment:
    let
      escaped = builtins.replaceStrings [ "\\" "\"" "$" ] [ "\\\\" "\\\"" "\\$" ];
      # Whoever reads such files takes what stands between single quotes as it is; there is no way to have
      # such a quote between them.
      quoted =
        value:
        if builtins.match "[^\"$\\]*" value != null then
          "\"${value}\""
        else if lib.hasInfix "'" value then
          "\"${escaped value}\""
        else
          "'${value}'";
      one = name: "${name}=${quoted environment.${name}}\n";
    in
    lib.concatStringsSep "" (map one (builtins.attrNames environment));
}
