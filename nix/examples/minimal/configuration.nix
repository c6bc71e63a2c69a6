# A relay and nothing else: SQLite, no TLS, for looking at it on this machine.
{
  services.atproto-relay = {
    enable = true;
    settings.contact = "mailto:relay@example.com";
  };

  system.stateVersion = "26.05";
}
