# A server that you ordered at OVH, records at OVH. The system lies on one NVMe disk, the data on another.
# Environment: OVH_ENDPOINT, OVH_CLIENT_ID, OVH_CLIENT_SECRET.
#
# The first time, install it (this erases the disk of the system):
#   provision infra apply NAME --reinstall ns1.ip-192-0-2.eu/first
name          = "rbx"
provider_name = "ovh-baremetal"
hostname      = "relay.example.com"

dns = { service = "ovh", zone = "example.com" }

ovh_baremetal   = { service_name = "ns1.ip-192-0-2.eu", ipv6 = "2001:db8:10::1" }
ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1sQ2u0m0cU0uR0m3dO0n9Xb1hJm8k1mVZcRkq0example operator@laptop"]
ssh_sources     = ["198.51.100.7/32"]

data_disks = [
  { mount = "/data", size_gb = 960, by_id = "/dev/disk/by-id/nvme-SAMSUNG_MZQL2960HCJR_S64FNE0T654321" },
]
