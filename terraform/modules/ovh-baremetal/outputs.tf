output "host" {
  description = "The host contract."
  value = {
    name       = var.name
    ipv4       = data.ovh_dedicated_server.this.ip
    ipv6       = var.ipv6
    ssh_user   = var.ssh_user
    ssh_port   = var.ssh_port
    data_disks = var.data_disks
    provider   = "ovh-baremetal"
  }
  # Who has the contract finds the system installed.
  depends_on = [ovh_dedicated_server_reinstall_task.this]
}
