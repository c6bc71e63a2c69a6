locals {
  labels  = { relay = var.name }
  volumes = { for volume in var.volumes : replace(trimprefix(volume.mount, "/"), "/", "-") => volume }
  # Where Hetzner has this size.
  places = [for place in data.hcloud_server_type.this.locations : place.name]
}

data "hcloud_server_type" "this" {
  name = var.server_type
}

module "cloud_init" {
  source          = "../cloud-init"
  hostname        = var.hostname
  ssh_user        = var.ssh_user
  ssh_port        = var.ssh_port
  ssh_public_keys = var.ssh_public_keys
}

# The addresses are resources of their own: a server that is built anew keeps them, and so do the
# records in the DNS and the consumers that know them.
resource "hcloud_primary_ip" "v4" {
  name              = "${var.name}-v4"
  type              = "ipv4"
  location          = var.location
  auto_delete       = false
  delete_protection = var.protect
  labels            = local.labels

  lifecycle {
    ignore_changes = [location]
  }
}

resource "hcloud_primary_ip" "v6" {
  name              = "${var.name}-v6"
  type              = "ipv6"
  location          = var.location
  auto_delete       = false
  delete_protection = var.protect
  labels            = local.labels

  lifecycle {
    ignore_changes = [location]
  }
}

resource "hcloud_firewall" "this" {
  name   = var.name
  labels = local.labels

  rule {
    description = "ssh, for operators"
    direction   = "in"
    protocol    = "tcp"
    port        = tostring(var.ssh_port)
    source_ips  = var.ssh_sources
  }
  rule {
    description = "certificates, and the way to https"
    direction   = "in"
    protocol    = "tcp"
    port        = "80"
    source_ips  = ["0.0.0.0/0", "::/0"]
  }
  rule {
    description = "the relay"
    direction   = "in"
    protocol    = "tcp"
    port        = "443"
    source_ips  = ["0.0.0.0/0", "::/0"]
  }
  rule {
    description = "path MTU, and ping"
    direction   = "in"
    protocol    = "icmp"
    source_ips  = ["0.0.0.0/0", "::/0"]
  }
}

# Relays of one project do not fail together with one machine of Hetzner's.
resource "hcloud_placement_group" "this" {
  name   = var.name
  type   = "spread"
  labels = local.labels
}

resource "hcloud_server" "this" {
  name                     = var.name
  server_type              = var.server_type
  location                 = var.location
  image                    = var.image
  user_data                = module.cloud_init.user_data
  ssh_keys                 = var.ssh_key_names
  firewall_ids             = [hcloud_firewall.this.id]
  placement_group_id       = hcloud_placement_group.this.id
  keep_disk                = true
  shutdown_before_deletion = true
  delete_protection        = var.protect
  rebuild_protection       = var.protect
  labels                   = local.labels

  public_net {
    ipv4_enabled = true
    ipv4         = hcloud_primary_ip.v4.id
    ipv6_enabled = true
    ipv6         = hcloud_primary_ip.v6.id
  }

  lifecycle {
    # Each of these would delete a live relay and make an empty one. To build it anew on purpose, use
    # `terraform apply -replace`.
    ignore_changes = [image, location, ssh_keys, user_data]

    precondition {
      condition     = contains(local.places, var.location)
      error_message = "server_type: Hetzner has no ${var.server_type} in ${var.location}; it is to be had in ${join(", ", local.places)}. Choose another location or another type."
    }
  }
}

resource "hcloud_volume" "data" {
  for_each          = local.volumes
  name              = "${var.name}-${each.key}"
  size              = each.value.size_gb
  location          = var.location
  delete_protection = var.protect
  labels            = local.labels

  lifecycle {
    # Another location would be another, empty volume.
    ignore_changes = [location]
  }
}

resource "hcloud_volume_attachment" "data" {
  for_each  = local.volumes
  volume_id = hcloud_volume.data[each.key].id
  server_id = hcloud_server.this.id
  automount = false
}

resource "hcloud_rdns" "v4" {
  primary_ip_id = hcloud_primary_ip.v4.id
  ip_address    = hcloud_primary_ip.v4.ip_address
  dns_ptr       = var.hostname
}

resource "hcloud_rdns" "v6" {
  primary_ip_id = hcloud_primary_ip.v6.id
  ip_address    = cidrhost(hcloud_primary_ip.v6.ip_network, 1)
  dns_ptr       = var.hostname
}

check "location" {
  assert {
    condition     = hcloud_server.this.location == var.location
    error_message = "The server is in ${hcloud_server.this.location}, and location says ${var.location}. A relay does not move: set location back, or make a second deployment there and change the name over to it."
  }
}

check "health" {
  assert {
    condition     = contains(["running", "starting", "initializing"], hcloud_server.this.status)
    error_message = "The server ${var.name} is ${hcloud_server.this.status}; start it in Hetzner's console."
  }
}
