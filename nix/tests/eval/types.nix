# Types of options: what they take, and how several definitions become one value.
lib:
let
  inherit (builtins)
    all
    attrNames
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    head
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    match
    substring
    toJSON
    ;

  conflict = loc: throw "The option `${lib.showOption loc}' has conflicting definition values.";
  equal = loc: values: if all (value: value == head values) values then head values else conflict loc;
  single = loc: values: if length values == 1 then head values else conflict loc;
  type = description: check: {
    inherit description check;
    merge = equal;
  };
  isDrv = value: isAttrs value && value.type or null == "derivation";
  isPathLike = value: isPath value || isDrv value || (isString value && substring 0 1 value == "/");

  ints = {
    between =
      least: most:
      type "integer between ${toString least} and ${toString most} (both inclusive)" (
        value: isInt value && value >= least && value <= most
      );
    unsigned = type "unsigned integer, meaning >=0" (value: isInt value && value >= 0);
    positive = type "positive integer, meaning >0" (value: isInt value && value > 0);
  };

  attrsOf = inner: {
    description = "attribute set of ${inner.description}";
    check = value: isAttrs value && !isDrv value;
    emptyValue = { };
    elementType = inner;
    merge =
      loc: values:
      let
        names = attrNames (foldl' (a: b: a // b) { } values);
        one =
          name:
          let
            definitions = map (value: value.${name}) (filter (value: value ? ${name}) values);
            merged = lib.mergeDefinitions (loc ++ [ name ]) inner definitions;
          in
          if merged.isDefined then
            [
              {
                inherit name;
                inherit (merged) value;
              }
            ]
          else
            [ ];
      in
      listToAttrs (concatMap one names);
  };
  listOf = inner: {
    description = "list of ${inner.description}";
    check = isList;
    emptyValue = [ ];
    merge =
      loc: values:
      concatMap (
        value:
        let
          merged = lib.mergeDefinitions (loc ++ [ "*" ]) inner [ value ];
        in
        if merged.isDefined then [ merged.value ] else [ ]
      ) (builtins.concatLists values);
  };
  either = a: b: {
    description = "${a.description} or ${b.description}";
    check = value: a.check value || b.check value;
    merge =
      loc: values:
      if all a.check values then
        a.merge loc values
      else if all b.check values then
        b.merge loc values
      else
        conflict loc;
  };
in
{
  inherit
    ints
    attrsOf
    listOf
    either
    ;
  bool = type "boolean" isBool;
  int = type "signed integer" isInt;
  float = type "floating point number" isFloat;
  number = type "signed integer or floating point number" (value: isInt value || isFloat value);
  str = type "string" isString;
  singleLineStr = type "(optionally newline-terminated) single-line string" (
    value: isString value && match "[^\n]*\n?" value != null
  );
  port = ints.between 0 65535;
  path = type "path" isPathLike;
  package = type "package" isDrv // {
    merge = single;
  };
  lines = type "strings concatenated with \"\\n\"" isString // {
    merge = _: concatStringsSep "\n";
  };
  strMatching =
    pattern:
    type "string matching the pattern ${pattern}" (
      value: isString value && match pattern value != null
    );
  enum =
    values: type "one of ${concatStringsSep ", " (map toJSON values)}" (value: elem value values);
  attrs = type "attribute set" isAttrs // {
    merge = _: foldl' (a: b: a // b) { };
  };
  raw = type "raw value" (_: true) // {
    merge = single;
  };
  anything = type "anything" (_: true);
  unspecified = type "unspecified value" (_: true);
  oneOf = options: foldl' either (head options) (builtins.tail options);
  nullOr = inner: {
    description = "null or ${inner.description}";
    check = value: value == null || inner.check value;
    merge =
      loc: values:
      if all (value: value == null) values then
        null
      else if all (value: value != null) values then
        inner.merge loc values
      else
        conflict loc;
  };
  submodule = module: {
    description = "submodule";
    check = value: isAttrs value || isFunction value || isPath value;
    emptyValue =
      (lib.evalModules {
        modules = [ module ];
        specialArgs.name = "";
      }).config;
    merge =
      loc: values:
      (lib.evalModules {
        modules = [ module ] ++ map (value: if isAttrs value then { config = value; } else value) values;
        specialArgs.name = builtins.elemAt loc (length loc - 1);
        prefix = loc;
      }).config;
  };
}
