locals {
  is_existing = var.provider_name == "existing-host"
  is_hetzner  = var.provider_name == "hetzner-cloud"
  is_robot    = var.provider_name == "hetzner-robot"
  is_ovh      = var.provider_name == "ovh-baremetal"
  uses_hcloud = local.is_hetzner || var.dns.service == "hetzner"
  uses_ovh    = local.is_ovh || var.dns.service == "ovh"

  host = one(concat(module.existing_host[*].host, module.hetzner_cloud[*].host, module.hetzner_robot[*].host, module.ovh_baremetal[*].host))

  # Known before the addresses are; null where the provider itself says them.
  given    = one([for one in [var.existing_host, var.hetzner_robot, var.ovh_baremetal] : one if one != null])
  has_ipv4 = local.is_hetzner || local.is_ovh || try(local.given.ipv4, null) != null
  has_ipv6 = local.is_hetzner || try(local.given.ipv6, null) != null

  ssh_sources = length(var.ssh_sources) > 0 ? var.ssh_sources : (local.is_hetzner ? [] : ["0.0.0.0/0"])
}

module "existing_host" {
  source     = "./modules/existing-host"
  count      = local.is_existing ? 1 : 0
  name       = var.name
  ipv4       = var.existing_host.ipv4
  ipv6       = var.existing_host.ipv6
  ssh_user   = coalesce(var.ssh_user, "root")
  ssh_port   = var.ssh_port
  data_disks = var.data_disks
}

module "hetzner_cloud" {
  source          = "./modules/hetzner-cloud"
  count           = local.is_hetzner ? 1 : 0
  name            = var.name
  hostname        = var.hostname
  location        = var.hetzner_cloud.location
  server_type     = var.hetzner_cloud.server_type
  image           = var.hetzner_cloud.image
  ssh_key_names   = var.hetzner_cloud.ssh_key_names
  ssh_user        = coalesce(var.ssh_user, "relay-admin")
  ssh_port        = var.ssh_port
  ssh_public_keys = var.ssh_public_keys
  ssh_sources     = local.ssh_sources
  volumes         = var.data_disks
  protect         = var.protect
}

module "hetzner_robot" {
  source              = "./modules/hetzner-robot"
  count               = local.is_robot ? 1 : 0
  name                = var.name
  hostname            = var.hostname
  server_number       = var.hetzner_robot.server_number
  ipv4                = var.hetzner_robot.ipv4
  ipv6                = var.hetzner_robot.ipv6
  os                  = var.hetzner_robot.os
  system_disks        = var.hetzner_robot.system_disks
  raid_level          = var.hetzner_robot.raid_level
  ssh_public_key_file = var.hetzner_robot.ssh_public_key_file
  ssh_user            = coalesce(var.ssh_user, "root")
  ssh_port            = var.ssh_port
  ssh_sources         = local.ssh_sources
  data_disks          = var.data_disks
  reinstall           = var.reinstall
  provision           = var.provision
  journal             = "${path.root}/../deployments/${var.name}/robot.json"
}

module "ovh_baremetal" {
  source          = "./modules/ovh-baremetal"
  count           = local.is_ovh ? 1 : 0
  name            = var.name
  hostname        = var.hostname
  service_name    = var.ovh_baremetal.service_name
  ipv6            = var.ovh_baremetal.ipv6
  os              = var.ovh_baremetal.os
  system          = var.ovh_baremetal.system
  edge_firewall   = var.ovh_baremetal.edge_firewall
  reinstall       = var.reinstall
  ssh_user        = coalesce(var.ssh_user, "debian")
  ssh_port        = var.ssh_port
  ssh_public_keys = var.ssh_public_keys
  ssh_sources     = local.ssh_sources
  data_disks      = var.data_disks
}

module "dns" {
  source    = "./modules/dns"
  service   = var.dns.service
  zone      = var.dns.zone
  ttl       = var.dns.ttl
  issuers   = var.dns.issuers
  hostnames = compact([var.hostname, var.dns.dashboard])
  families  = toset(concat(local.has_ipv4 ? ["ipv4"] : [], local.has_ipv6 ? ["ipv6"] : []))
  ipv4      = local.host.ipv4
  ipv6      = local.host.ipv6
}
