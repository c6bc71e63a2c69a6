output "host" {
  description = "The host contract."
  value = {
    name       = var.name
    ipv4       = var.ipv4
    ipv6       = var.ipv6
    ssh_user   = var.ssh_user
    ssh_port   = var.ssh_port
    data_disks = var.data_disks
    provider   = "hetzner-robot"
  }
  # Who has the contract finds the system installed.
  depends_on = [terraform_data.checked, terraform_data.installed]
}
