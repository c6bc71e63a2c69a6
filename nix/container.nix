# The image of the relay, for `./result | docker load`. What it is told stands in image.json, which is made
# from what `provision image` makes: both images behave the same.
{
  lib,
  dockerTools,
  cacert,
  runCommand,
  relay,
}:
let
  config = builtins.fromJSON (builtins.readFile ./image.json);
  program = builtins.head config.Entrypoint;
  user = builtins.head (lib.splitString ":" config.User);
  volumes = builtins.attrNames config.Volumes;
  files = runCommand "relay-files" { } ''
    mkdir -p $out/etc/ssl/certs $out${dirOf program}
    ln -s ${relay}/bin/relay $out${program}
    ln -s ${cacert}/etc/ssl/certs/ca-bundle.crt $out/etc/ssl/certs/ca-certificates.crt
    printf 'root:x:0:0:root:/:/sbin/nologin\nrelay:x:${user}:${user}:relay:/:/sbin/nologin\n' >$out/etc/passwd
    printf 'root:x:0:\nrelay:x:${user}:\n' >$out/etc/group
    echo 'hosts: files dns' >$out/etc/nsswitch.conf
  '';
in
dockerTools.streamLayeredImage {
  name = "atproto-relay/relay";
  tag = relay.version;
  contents = [ files ];
  # An image does not depend on when it was made.
  created = "1970-01-01T00:00:00Z";
  inherit config;
  fakeRootCommands = ''
    mkdir -p tmp ${lib.concatMapStringsSep " " (lib.removePrefix "/") volumes}
    chmod 1777 tmp
  ''
  + lib.concatMapStrings (volume: ''
    chown ${user}:${user} ${lib.removePrefix "/" volume}
    chmod 0750 ${lib.removePrefix "/" volume}
  '') volumes;
}
