# Robot has no provider for Terraform: `provision robot` talks to it. ROBOT_USER and ROBOT_PASSWORD are in
# the environment. The words are handed over one by one, without a shell between. Destroying a deployment
# forgets the server; its contract and its disks stay as they are.

locals {
  system_disks = flatten([for disk in var.system_disks : ["--system-disk", disk]])
  data_disks   = flatten([for disk in var.data_disks : ["--data-disk", disk.by_id]])
  raid_level   = var.raid_level == null ? [] : ["--raid-level", tostring(var.raid_level)]
  ssh_sources  = flatten([for source in var.ssh_sources : ["--ssh-source", source]])
  addresses = concat(
    var.ipv4 == null ? [] : ["--ipv4", var.ipv4],
    var.ipv6 == null ? [] : ["--ipv6", var.ipv6],
  )
}

# Addresses that belong to another server are found before anything is done to either.
resource "terraform_data" "checked" {
  triggers_replace = concat([var.server_number], local.addresses)

  provisioner "local-exec" {
    interpreter = concat([var.provision, "robot", "check"], local.addresses)
    command     = tostring(var.server_number)
  }
}

# One instance per typed word: a word that is taken back is forgotten and erases nothing, and a word that
# is still there never installs again, whatever else changes.
resource "terraform_data" "installed" {
  for_each   = toset(var.reinstall == null ? [] : [var.reinstall])
  depends_on = [terraform_data.checked]

  provisioner "local-exec" {
    interpreter = concat(
      [
        var.provision, "robot", "install",
        "--confirm", split("/", each.key)[0],
        "--word", split("/", each.key)[1],
        "--hostname", var.hostname,
        "--os", var.os,
        "--key", pathexpand(var.ssh_public_key_file),
        "--journal", var.journal,
      ],
      local.system_disks, local.raid_level, local.data_disks,
    )
    command = tostring(var.server_number)
  }
}

resource "terraform_data" "reverse" {
  triggers_replace = [var.server_number, var.hostname]
  depends_on       = [terraform_data.checked]

  provisioner "local-exec" {
    interpreter = [var.provision, "robot", "rdns", tostring(var.server_number)]
    command     = var.hostname
  }
}

resource "terraform_data" "firewall" {
  triggers_replace = [var.server_number, var.ssh_port, var.ssh_sources]
  depends_on       = [terraform_data.checked]

  provisioner "local-exec" {
    interpreter = concat([var.provision, "robot", "firewall", "--ssh-port", tostring(var.ssh_port)], local.ssh_sources)
    command     = tostring(var.server_number)
  }
}
