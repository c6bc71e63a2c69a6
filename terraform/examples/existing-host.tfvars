# A host that you have already, reached by ssh. Nothing is made; the records are printed.
name          = "home"
provider_name = "existing-host"
hostname      = "relay.example.com"

dns = { zone = "example.com" }

existing_host = { ipv4 = "192.0.2.7", ipv6 = "2001:db8::7" }
ssh_user      = "debian"

data_disks = [
  { mount = "/data", size_gb = 1920, by_id = "/dev/disk/by-id/nvme-SAMSUNG_MZQL21T9HCJR_S64GNE0T123456" },
]
