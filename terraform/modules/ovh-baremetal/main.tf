# The server itself is not a resource here, on purpose: a changed system or storage of such a resource
# is planned as a harmless update and wipes the machine, and destroying it ends the contract. The server
# is only looked at; the one thing that erases anything is the installation below.

locals {
  block = "${data.ovh_dedicated_server.this.ip}/32"
  group = one([for group in data.ovh_dedicated_server_specifications_hardware.this.disk_groups :
    group if group.disk_group_id == var.system.disk_group
  ])
  disks_of_all = sum(data.ovh_dedicated_server_specifications_hardware.this.disk_groups[*].number_of_disks)

  ssh_rules = [for source in var.ssh_sources : { protocol = "tcp", destination_port = var.ssh_port, source = source }]
  rules = concat(
    [
      # The firewall has no state: answers to what the host asks are let in by what they look like.
      { protocol = "tcp", tcp_option = "established" },
      { protocol = "icmp" },
      { protocol = "tcp", destination_port = 80 },
      { protocol = "tcp", destination_port = 443 },
      { protocol = "udp", source_port = 53 },
      { protocol = "udp", source_port = 123 },
    ],
    local.ssh_rules,
  )
}

data "ovh_dedicated_server" "this" {
  service_name = var.service_name
}

data "ovh_dedicated_server_specifications_hardware" "this" {
  service_name = var.service_name
}

# One instance per typed word: a word that is taken back is forgotten and erases nothing, and a word that
# is still there never installs again, whatever else changes.
resource "ovh_dedicated_server_reinstall_task" "this" {
  for_each     = toset(var.reinstall == null ? [] : [var.reinstall])
  service_name = var.service_name
  os           = var.os

  customizations {
    hostname = var.hostname
    ssh_key  = join("\n", var.ssh_public_keys)
  }

  storage {
    disk_group_id = var.system.disk_group

    partitioning {
      disks = var.system.disks

      dynamic "layout" {
        for_each = var.system.layout
        content {
          mount_point = layout.value.mount_point
          file_system = layout.value.file_system
          size        = layout.value.size
          raid_level  = var.system.raid_level
        }
      }
    }
  }

  lifecycle {
    ignore_changes = all

    precondition {
      condition     = local.group != null
      error_message = "system: the server has no disk group ${var.system.disk_group}; it has ${join(", ", data.ovh_dedicated_server_specifications_hardware.this.disk_groups[*].disk_group_id)}. Set disk_group to one of these."
    }
    precondition {
      condition     = local.group == null || var.system.disks <= try(local.group.number_of_disks, 0)
      error_message = "system: disk group ${var.system.disk_group} has ${try(local.group.number_of_disks, 0)} disks, and disks says ${var.system.disks}. Lower disks, or choose another disk_group."
    }
    precondition {
      condition     = var.system.disks < local.disks_of_all
      error_message = "system: the installation would take all ${local.disks_of_all} disks and leave none for the relay's data. Lower disks."
    }
  }
}

# The name must already point to the address when OVH is asked, hence the time.
resource "ovh_ip_reverse" "v4" {
  ip                         = local.block
  ip_reverse                 = data.ovh_dedicated_server.this.ip
  reverse                    = "${var.hostname}."
  readiness_timeout_duration = "15m"
}

resource "ovh_ip_firewall" "this" {
  count          = var.edge_firewall ? 1 : 0
  ip             = local.block
  ip_on_firewall = data.ovh_dedicated_server.this.ip
  enabled        = true
}

resource "ovh_ip_firewall_rule" "permit" {
  count            = var.edge_firewall ? length(local.rules) : 0
  ip               = local.block
  ip_on_firewall   = ovh_ip_firewall.this[0].ip_on_firewall
  sequence         = count.index
  action           = "permit"
  protocol         = local.rules[count.index].protocol
  destination_port = try(local.rules[count.index].destination_port, null)
  source_port      = try(local.rules[count.index].source_port, null)
  source           = try(local.rules[count.index].source, null)
  tcp_option       = try(local.rules[count.index].tcp_option, null)
}

# What no rule permits. It comes last, so that nobody is locked out while the others are made.
resource "ovh_ip_firewall_rule" "deny" {
  count          = var.edge_firewall ? 1 : 0
  ip             = local.block
  ip_on_firewall = ovh_ip_firewall.this[0].ip_on_firewall
  sequence       = 19
  action         = "deny"
  protocol       = "ipv4"
  depends_on     = [ovh_ip_firewall_rule.permit]
}

check "health" {
  assert {
    condition     = data.ovh_dedicated_server.this.state == "ok"
    error_message = "OVH says that the server ${var.service_name} is `${data.ovh_dedicated_server.this.state}`: look into OVH's manager."
  }
}
