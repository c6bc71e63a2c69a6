# Hetzner Cloud in Ashburn, records at Cloudflare. With hetzner-cloud-hil.tfvars a pair: two places, two
# services for the DNS, nothing shared. They are compared continuously once deployments/ash/group_vars/relay.yml
# has `compare_with: [hil.example.com]`, and that of hil the other way round.
# Environment: HCLOUD_TOKEN, CLOUDFLARE_API_TOKEN.
name          = "ash"
provider_name = "hetzner-cloud"
hostname      = "ash.example.com"

dns = { service = "cloudflare", zone = "example.com", dashboard = "dash.ash.example.com" }

hetzner_cloud   = { location = "ash", server_type = "ccx33" }
ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1sQ2u0m0cU0uR0m3dO0n9Xb1hJm8k1mVZcRkq0example operator@laptop"]
ssh_sources     = ["198.51.100.0/24", "2001:db8::/48"]

data_disks = [
  { mount = "/data/relay", size_gb = 800 },
  { mount = "/data/postgres", size_gb = 50 },
]
