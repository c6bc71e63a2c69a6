# The smallest configuration: it starts, keeps to itself, and its data have the right owner.
{
  lib,
  modules,
  ...
}:
{
  name = "relay-minimal";

  nodes.machine = {
    imports = [
      modules.relay
      ../examples/minimal/configuration.nix
    ];
    system.stateVersion = lib.mkForce lib.trivial.release;
  };

  testScript = ''
    machine.wait_for_unit("relay.service")
    machine.succeed("relay health")
    machine.succeed("curl --fail http://127.0.0.1:2470/xrpc/_health")
    listening = machine.succeed("ss --listening --tcp --numeric --no-header | grep -E ':247[0-2]'")
    assert all("127.0.0.1:" in line for line in listening.splitlines()), listening
    assert machine.succeed("stat -c '%a %U %G' /var/lib/relay") == "750 relay relay\n"
    machine.succeed("systemd-analyze security --threshold=15 relay.service")
    machine.succeed("man --where relay")
    machine.succeed("provision doctor --list")
  '';
}
