output "host" {
  description = "The host contract: the same for every provider, and all that comes after it needs."
  value       = local.host
}

output "inventory" {
  description = "Ansible's inventory, the text of deployments/NAME/inventory.yml."
  value = yamlencode({
    relay = {
      hosts = {
        (var.name) = {
          ansible_host   = local.host.ipv4 != null ? local.host.ipv4 : local.host.ipv6
          ansible_user   = local.host.ssh_user
          ansible_port   = local.host.ssh_port
          relay_name     = var.name
          relay_hostname = var.hostname
          ipv4           = local.host.ipv4
          ipv6           = local.host.ipv6
          data_disks     = local.host.data_disks
          provider       = local.host.provider
          os             = var.os
        }
      }
    }
  })
}

output "settings" {
  description = "Settings of the deployment without secrets, as lines NAME=value, the text of deployments/NAME/settings.env."
  value = join("", [for name, value in {
    DEPLOYMENT_NAME      = var.name
    DEPLOYMENT_PROVIDER  = local.host.provider
    DEPLOYMENT_OS        = var.os
    DEPLOYMENT_HOSTNAME  = var.hostname
    DEPLOYMENT_DASHBOARD = try(coalesce(var.dns.dashboard), "")
    DEPLOYMENT_IPV4      = try(coalesce(local.host.ipv4), "")
    DEPLOYMENT_IPV6      = try(coalesce(local.host.ipv6), "")
    DEPLOYMENT_SSH_USER  = local.host.ssh_user
    DEPLOYMENT_SSH_PORT  = local.host.ssh_port
  } : "${name}=${value}\n"])
}

output "dns_records" {
  description = "The records of the public name."
  value       = module.dns.records
}

output "dns_by_hand" {
  description = "Records that have to be entered by hand; empty when they were made."
  value       = module.dns.by_hand
}
