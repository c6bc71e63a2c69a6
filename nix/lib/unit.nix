# The unit of the relay, from the template that Ansible fills in: one source for every way of installing
# it. Both know `{{ name }}` and nothing else; anything more stops the evaluation.
{ lib }:
let
  lines = text: lib.splitString "\n" text;

  # `name: value` of a file of defaults, as far as a value is one word.
  defaults =
    file:
    let
      pairs = map (builtins.match "([a-z_]+): ([A-Za-z0-9/.-]+)") (lines (builtins.readFile file));
      found = builtins.filter (pair: pair != null) pairs;
      named = pair: {
        name = builtins.head pair;
        value = builtins.elemAt pair 1;
      };
    in
    builtins.listToAttrs (map named found);

  fill =
    template: values:
    let
      names = builtins.attrNames values;
      text = builtins.replaceStrings (map (name: "{{ ${name} }}") names) (map (
        name: values.${name}
      ) names) template;
      left = builtins.split "([{][{%][^}]*)" text;
    in
    if builtins.length left == 1 then
      text
    else
      throw "the template of the unit has ${builtins.head (builtins.elemAt left 1)}, which nobody fills in here";

  # Each line `Name=value` with the section that it stands in.
  step =
    state: line:
    let
      section = builtins.match "[[]([A-Za-z]+)[]]" line;
      entry = builtins.match "([A-Za-z]+)=(.*)" line;
    in
    if section != null then
      state // { section = builtins.head section; }
    else if entry != null then
      state
      // {
        entries = state.entries ++ [
          {
            inherit (state) section;
            name = builtins.head entry;
            value = builtins.elemAt entry 1;
          }
        ];
      }
    else if line == "" || lib.hasPrefix "#" line then
      state
    else
      throw "the template of the unit has a line that is none of a unit: ${line}";

  parse =
    text:
    let
      start = {
        section = "";
        entries = [ ];
      };
      inherit (builtins.foldl' step start (lines text)) entries;
      values = entries: map (entry: entry.value) entries;
      names = entries: builtins.mapAttrs (_: values) (builtins.groupBy (entry: entry.name) entries);
    in
    builtins.mapAttrs (_: names) (builtins.groupBy (entry: entry.section) entries);
in
{
  inherit defaults;

  # Sections with names with lists of values.
  sections = template: values: parse (fill (builtins.readFile template) values);

  # As NixOS writes it: one value alone, or a list.
  one = values: if builtins.length values == 1 then builtins.head values else values;

  words = values: builtins.filter (word: word != "") (lib.splitString " " (builtins.head values));
}
