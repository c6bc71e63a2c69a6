# A stand-in for the part of nixpkgs' `lib` that the modules use, so that they are evaluated on machines
# that have Nix alone. What it says of mistakes begins as the original does, and the suite runs with both.
let
  inherit (builtins)
    any
    attrNames
    attrValues
    concatLists
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    head
    isAttrs
    isFunction
    isPath
    isString
    length
    listToAttrs
    mapAttrs
    match
    replaceStrings
    sort
    split
    stringLength
    substring
    toJSON
    ;

  types = import ./types.nix lib;

  # Properties: what a definition can be wrapped in.
  isType = name: value: isAttrs value && value._type or "" == name;
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkOrder = priority: content: {
    _type = "order";
    inherit priority content;
  };

  showOption = concatStringsSep ".";
  show = value: if isFunction value then "<function>" else (builtins.tryEval (toJSON value)).value;

  # Moves conditions and priorities of whole sets down to their members, whose names are known then.
  push =
    value:
    if isType "merge" value then
      concatMap push value.contents
    else if isType "if" value then
      map (mapAttrs (_: mkIf value.condition)) (push value.content)
    else if isType "override" value then
      map (mapAttrs (_: mkOverride value.priority)) (push value.content)
    else
      [ value ];

  # What counts of definitions: those whose conditions hold, of them those of the highest priority.
  discharge =
    value:
    if isType "merge" value then
      concatMap discharge value.contents
    else if isType "if" value then
      (if value.condition then discharge value.content else [ ])
    else if isType "override" value then
      map (found: found // { inherit (value) priority; }) (discharge value.content)
    else if isType "order" value then
      map (found: found // { order = value.priority; }) (discharge value.content)
    else
      [
        {
          priority = 100;
          order = 1000;
          inherit value;
        }
      ];
  strongest =
    found:
    let
      best = foldl' (least: one: if one.priority < least then one.priority else least) 1000000 found;
      kept = filter (one: one.priority == best) found;
    in
    map (one: one.value) (sort (a: b: a.order < b.order) kept);

  mergeDefinitions =
    loc: type: definitions:
    let
      values = strongest (concatMap discharge definitions);
      wrong = filter (value: !type.check value) values;
    in
    {
      isDefined = values != [ ];
      value =
        if wrong != [ ] then
          throw "A definition for option `${showOption loc}' is not of type `${type.description}'. Definition values: ${show (head wrong)}"
        else
          type.merge loc values;
    };

  evalOption =
    loc: option: definitions:
    let
      type = option.type or types.anything;
      default = if option ? default then [ (mkOverride 1500 option.default) ] else [ ];
      merged = mergeDefinitions loc type (definitions ++ default);
      value =
        if option.readOnly or false && length definitions > 1 then
          throw "The option `${showOption loc}' is read-only, but it's set multiple times."
        else if merged.isDefined then
          merged.value
        else if type ? emptyValue then
          type.emptyValue
        else
          throw "The option `${showOption loc}' was accessed but has no value defined. Try setting the option.";
    in
    if option ? apply then option.apply value else value;

  # One module as { imports, options, config, freeformType }.
  normal =
    arguments: module:
    let
      plain =
        if isPath module || isString module then
          normalAttrs (call (import module))
        else
          normalAttrs (call module);
      call = value: if isFunction value then value arguments else value;
      normalAttrs =
        value:
        if value ? options || value ? config then
          {
            imports = [ ];
            options = { };
            config = { };
            freeformType = null;
          }
          // value
        else
          {
            imports = value.imports or [ ];
            options = { };
            config = removeAttrs value [
              "imports"
              "_file"
              "key"
              "freeformType"
            ];
            freeformType = value.freeformType or null;
          };
    in
    plain // { key = if isPath module || isString module then toString module else null; };

  # Modules and what they import, each file once.
  collect =
    arguments: seen: modules:
    foldl'
      (
        state: module:
        let
          one = normal arguments module;
          inner = collect arguments (state.seen ++ [ one.key ]) one.imports;
        in
        if one.key != null && elem one.key state.seen then
          state
        else
          {
            inherit (inner) seen;
            found = state.found ++ inner.found ++ [ one ];
          }
      )
      {
        inherit seen;
        found = [ ];
      }
      modules;

  mergeOptions =
    loc: trees:
    let
      names = attrNames (foldl' (a: b: a // b) { } trees);
      one =
        name:
        let
          here = map (tree: tree.${name}) (filter (tree: tree ? ${name}) trees);
        in
        if any (isType "option") here then
          if length here == 1 then
            head here
          else
            throw "The option `${showOption (loc ++ [ name ])}' is already declared."
        else
          mergeOptions (loc ++ [ name ]) here;
    in
    listToAttrs (
      map (name: {
        inherit name;
        value = one name;
      }) names
    );

  # Values of a tree of options, and the definitions that fit none.
  evalTree =
    loc: options: definitions:
    let
      pushed = concatMap push definitions;
      bad = filter (value: !isAttrs value) pushed;
      of = name: map (value: value.${name}) (filter (value: value ? ${name}) pushed);
      one =
        name:
        if isType "option" options.${name} then
          {
            value = evalOption (loc ++ [ name ]) options.${name} (of name);
            unknown = [ ];
          }
        else
          evalTree (loc ++ [ name ]) options.${name} (of name);
      results = mapAttrs (name: _: one name) options;
      others = filter (name: !(options ? ${name})) (attrNames (foldl' (a: b: a // b) { } pushed));
    in
    if bad != [ ] then
      throw "A definition for option `${showOption loc}' is not of type `set'. Definition values: ${show (head bad)}"
    else
      {
        value = mapAttrs (_: result: result.value) results;
        unknown =
          map (name: {
            path = loc ++ [ name ];
            definitions = of name;
          }) others
          ++ concatMap (result: result.unknown) (attrValues results);
      };

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      arguments = specialArgs // {
        inherit lib options;
        config = raw;
      };
      found = (collect arguments [ ] modules).found;
      free = filter (type: type != null) (map (module: module.freeformType) found);
      options = mergeOptions prefix (map (module: module.options) found);
      tree = evalTree prefix options (map (module: module.config) found);
      depth = length prefix;
      top = unknown: elemAt unknown.path depth;
      freeValues = listToAttrs (
        concatMap (
          unknown:
          let
            merged = mergeDefinitions unknown.path (head free).elementType unknown.definitions;
          in
          if merged.isDefined then
            [
              {
                name = top unknown;
                inherit (merged) value;
              }
            ]
          else
            [ ]
        ) tree.unknown
      );
      raw = if free == [ ] then tree.value else tree.value // freeValues;
      checked =
        if free == [ ] && tree.unknown != [ ] then
          let
            first = head tree.unknown;
          in
          throw "The option `${showOption first.path}' does not exist. Definition values: ${show (strongest (concatMap discharge first.definitions))}"
        else
          raw;
    in
    {
      inherit options;
      config = checked;
    };

  lib = rec {
    inherit
      evalModules
      mergeDefinitions
      mkIf
      mkMerge
      mkOverride
      mkOrder
      showOption
      types
      concatMap
      concatStringsSep
      ;
    mkOption = option: option // { _type = "option"; };
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkBefore = mkOrder 500;
    mkAfter = mkOrder 1500;
    mkEnableOption =
      what:
      mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether to enable ${what}.";
      };
    literalExpression = text: {
      _type = "literalExpression";
      inherit text;
    };

    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalString = condition: text: if condition then text else "";
    optionalAttrs = condition: values: if condition then values else { };
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasInfix = part: text: length (builtins.split (replaceStrings special escaped part) text) > 1;
    special = [
      "\\"
      "."
      "*"
      "+"
      "?"
      "("
      ")"
      "["
      "{"
      "^"
      "$"
      "|"
    ];
    escaped = map (one: "\\${one}") special;
    splitString =
      separator: text: filter isString (split (replaceStrings special escaped separator) text);
    escapeShellArg =
      value:
      if match "[A-Za-z0-9_.,:+@%/-]+" (toString value) != null then
        toString value
      else
        "'${replaceStrings [ "'" ] [ "'\\''" ] (toString value)}'";
    isDerivation = value: value.type or null == "derivation";
    collectOptions =
      tree:
      concatLists (
        map (
          name:
          if isType "option" tree.${name} then
            [
              {
                path = [ name ];
                option = tree.${name};
              }
            ]
          else
            map (found: found // { path = [ name ] ++ found.path; }) (collectOptions tree.${name})
        ) (attrNames tree)
      );
  };
in
lib
