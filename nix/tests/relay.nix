# A whole relay with hosts of a simulated network: what the public reaches, two consumers that compare every
# frame with what had to come, kill -9, a restart of the machine, an upgrade, a backup and its restore.
{
  lib,
  modules,
  simnet,
}:
let
  name = "relay.test";
in
{
  name = "relay";

  nodes.relay =
    { config, ... }:
    {
      imports = [ modules.stack ];
      virtualisation = {
        memorySize = 3072;
        diskSize = 8192;
      };
      networking.hosts."127.0.0.1" = [ name ];

      services.atproto-relay-stack = {
        enable = true;
        hostname = name;
      };
      services.atproto-relay = {
        caddy.issuer = "internal";
        bootstrap.enable = false;
        credentials.adminPasswordFile = "/root/admin-password";
        # The simulated hosts have plain names of this machine.
        settings = {
          dev = true;
          environment = "test";
          default_account_limit = 100000;
        };
        # Which hosts there are is known when they listen.
        environmentFiles = [ "/var/lib/simnet/env" ];
      };
      environment.systemPackages = [
        simnet
        config.services.postgresql.package
      ];
      # Begins when there are hosts.
      systemd.services.relay.wantedBy = lib.mkForce [ ];

      specialisation.next.configuration.services.atproto-relay.settings.contact =
        "mailto:next@relay.test";
    };

  nodes.client =
    { pkgs, ... }:
    {
      environment.systemPackages = [ pkgs.curl ];
    };

  testScript = { nodes, ... }: ''
    import json

    start_all()
    relay.wait_for_unit("postgresql.service")
    relay.wait_for_unit("caddy.service")
    relay.succeed("mkdir -p /var/lib/simnet")
    relay.succeed("head -c 18 /dev/urandom | base64 > /root/admin-password")
    relay.succeed(
        "systemd-run --unit simnet --property RemainAfterExit=yes simnet serve --hosts 20 --accounts 200"
        " --events 20000 --rate 500 --wait --addresses /var/lib/simnet/addresses"
        " --relay ws://127.0.0.1:2470 --consumers 2"
    )
    relay.wait_for_file("/var/lib/simnet/addresses")
    directory, *hosts = relay.succeed("cat /var/lib/simnet/addresses").split()
    relay.succeed(f"echo RELAY_PLC_HOST={directory} > /var/lib/simnet/env")
    relay.succeed(f"echo RELAY_CRAWL={','.join(hosts)} >> /var/lib/simnet/env")
    relay.succeed("systemctl start relay.service")

    with subtest("Two consumers get every frame that had to come, and no other"):
        relay.wait_until_succeeds("systemctl show simnet -p SubState | grep -q exited", timeout=600)
        assert "Result=success" in relay.succeed("systemctl show simnet -p Result")


    def frames() -> list[int]:
        lines = relay.succeed(
            "timeout 120 provision watch 127.0.0.1:2470 --cursor 0 --json --for 20s --rate 0s"
        ).splitlines()
        return [json.loads(line)["seq"] for line in lines]


    with subtest("The public reaches what is public"):
        authority = relay.succeed("cat /var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt")
        client.succeed(f"cat > /tmp/authority.crt << 'END'\n{authority}END")
        address = "${nodes.relay.networking.primaryIPAddress}"
        curl = f"curl --silent --cacert /tmp/authority.crt --resolve ${name}:443:{address} --write-out '%{{http_code}}'"
        assert "200" in client.succeed(f"{curl} https://${name}/xrpc/com.atproto.sync.listHosts")
        for path in ["/admin", "/dash", "/metrics"]:
            assert client.succeed(f"{curl} --output /dev/null https://${name}{path}") == "404", path
        for port in [2470, 2471, 2472, 2473, 5432, 9090]:
            client.fail(f"curl --silent --max-time 5 http://{address}:{port}/")

    with subtest("No event is lost by kill -9, nor by a restart of the machine"):
        before = frames()
        assert len(before) > 10000 and before == sorted(set(before))
        relay.succeed("systemctl kill --signal KILL relay.service")
        relay.wait_until_succeeds("relay health", timeout=120)
        assert frames() == before
        relay.shutdown()
        relay.start()
        relay.wait_for_unit("postgresql.service")
        relay.succeed("systemctl start relay.service")
        relay.wait_until_succeeds("relay health", timeout=120)
        assert frames() == before

    with subtest("An upgrade keeps the log"):
        relay.succeed("/run/current-system/specialisation/next/bin/switch-to-configuration test")
        relay.wait_until_succeeds("relay health", timeout=120)
        relay.succeed("tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID relay)/environ | grep -q next@relay.test")
        assert frames() == before

    with subtest("A backup is made, can be restored, and is restored"):
        relay.succeed("systemctl start relay-backup.service relay-backup-verify.service")
        relay.succeed("grep -q relay_backup_success /var/lib/relay-metrics/relay_backup.prom")
        relay.succeed("systemctl stop relay.service")
        accounts = relay.succeed("sudo -u relay psql relay -Atc 'SELECT count(*) FROM accounts'")
        relay.succeed("sudo -u postgres dropdb relay && sudo -u postgres createdb --owner relay relay")
        relay.succeed("rm -r /var/lib/relay/persist")
        relay.succeed("cp /etc/relay/env /tmp/env && chmod 600 /tmp/env && chown relay /tmp/env")
        relay.succeed("sudo -u relay provision restore /var/backups/relay --env /tmp/env")
        assert accounts == relay.succeed("sudo -u relay psql relay -Atc 'SELECT count(*) FROM accounts'")

    with subtest("The unit is hardened, and its secret is where nobody else reads it"):
        relay.succeed("systemd-analyze security --threshold=15 relay.service")
        relay.fail("grep --recursive --quiet --fixed-strings --file /root/admin-password /nix/store")
        relay.succeed("systemctl start relay.service")
        mode = relay.succeed("stat -c '%a %U' /run/relay/relay.toml /var/lib/relay").split()
        assert mode == ["600", "relay", "750", "relay"], mode
  '';
}
