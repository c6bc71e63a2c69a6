# Hetzner Cloud in Hillsboro, records at Hetzner. The other half of the pair: deployments/hil/group_vars/relay.yml
# has `compare_with: [ash.example.com]`.
# Environment: HCLOUD_TOKEN.
name          = "hil"
provider_name = "hetzner-cloud"
hostname      = "hil.example.com"

dns = { service = "hetzner", zone = "example.com" }

hetzner_cloud   = { location = "hil", server_type = "ccx33", image = "debian-13" }
ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1sQ2u0m0cU0uR0m3dO0n9Xb1hJm8k1mVZcRkq0example operator@laptop"]
ssh_sources     = ["0.0.0.0/0", "::/0"]

data_disks = [
  { mount = "/data", size_gb = 800 },
]
