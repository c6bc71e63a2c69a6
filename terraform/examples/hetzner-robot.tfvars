# A server that you rent from Hetzner, records printed. The system lies on two mirrored disks, the data on a third.
# Environment: ROBOT_USER, ROBOT_PASSWORD.
#
# The first time, install it (this erases the disks of the system):
#   provision infra apply NAME --reinstall 321/first
name          = "fsn"
provider_name = "hetzner-robot"
hostname      = "relay.example.com"

dns = { zone = "example.com" }

hetzner_robot = {
  server_number = 321
  ipv4          = "203.0.113.10"
  ipv6          = "2001:db8:321::1"
  raid_level    = 1
  system_disks = [
    "/dev/disk/by-id/nvme-KXG60ZNV512G_TOSHIBA_A1",
    "/dev/disk/by-id/nvme-KXG60ZNV512G_TOSHIBA_A2",
  ]
}
ssh_sources = ["198.51.100.0/24"]

data_disks = [
  { mount = "/data", size_gb = 1920, by_id = "/dev/disk/by-id/nvme-SAMSUNG_MZQL21T9HCJR_S64GNE0T111111" },
]
