output "host" {
  description = "The host contract."
  value = {
    name     = var.name
    ipv4     = hcloud_primary_ip.v4.ip_address
    ipv6     = cidrhost(hcloud_primary_ip.v6.ip_network, 1)
    ssh_user = var.ssh_user
    ssh_port = var.ssh_port
    data_disks = [for key, volume in local.volumes : {
      by_id   = hcloud_volume.data[key].linux_device
      mount   = volume.mount
      size_gb = volume.size_gb
    }]
    provider = "hetzner-cloud"
  }
  # Who has the contract can use the disks.
  depends_on = [hcloud_volume_attachment.data]
}
