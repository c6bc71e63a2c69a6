variable "name" {
  description = "Name of the deployment; also the name of the host at its provider."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", var.name))
    error_message = "name: at most 32 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen, such as `hil` or `relay-1`."
  }
}

variable "provider_name" {
  description = "Where the host comes from."
  type        = string

  validation {
    condition     = contains(["existing-host", "hetzner-cloud", "hetzner-robot", "ovh-baremetal"], var.provider_name)
    error_message = "provider_name: one of existing-host, hetzner-cloud, hetzner-robot, ovh-baremetal."
  }
}

variable "os" {
  description = "What runs on the host: `debian` is set up by Ansible; `nixos` is built on this side, and takes the place of the system that the machine comes with."
  type        = string
  default     = "debian"

  validation {
    condition     = contains(["debian", "nixos"], var.os)
    error_message = "os: one of debian (also for Ubuntu), nixos."
  }
}

variable "hostname" {
  description = "Public name of the relay."
  type        = string

  validation {
    condition     = length(var.hostname) <= 253 && can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]*[a-z0-9])?$", var.hostname))
    error_message = "hostname: the full public name in lower case without https:// and without a final dot, such as `relay.example.com`."
  }
}

variable "dns" {
  description = "Who serves the zone of the public name. With `print` the records are printed, to be entered by hand."
  type = object({
    service = optional(string, "print")
    zone    = string
    ttl     = optional(number, 300)
    issuers = optional(list(string), ["letsencrypt.org", "sectigo.com"])
    # A second name, for the dashboard.
    dashboard = optional(string)
  })
}

variable "data_disks" {
  description = "Disks for the relay's data. Hetzner Cloud makes them as volumes; elsewhere by_id says which disk is meant."
  type = list(object({
    mount   = string
    size_gb = number
    by_id   = optional(string)
  }))

  validation {
    condition     = var.provider_name == "hetzner-cloud" || alltrue([for disk in var.data_disks : disk.by_id != null])
    error_message = "data_disks: by_id is missing; it says which disk of the host is meant (`ls -l /dev/disk/by-id` on the host shows them)."
  }
  validation {
    condition     = var.provider_name != "hetzner-cloud" || alltrue([for disk in var.data_disks : disk.by_id == null])
    error_message = "data_disks: leave by_id out for hetzner-cloud; the volumes are made, and Hetzner says their names."
  }
}

variable "ssh_user" {
  description = "Who logs in by ssh. By default relay-admin on Hetzner Cloud, debian at OVH, root elsewhere."
  type        = string
  default     = null
}

variable "ssh_port" {
  description = "Port of sshd."
  type        = number
  default     = 22
}

variable "ssh_public_keys" {
  description = "Public keys that may log in; for Hetzner Cloud and OVH."
  type        = list(string)
  default     = []
}

variable "ssh_sources" {
  description = "Networks from which ssh is reachable, where the provider has a firewall."
  type        = list(string)
  default     = []
}

variable "protect" {
  description = "Whether the provider refuses to delete what holds data. Set it to false and apply before you destroy."
  type        = bool
  default     = true
}

variable "reinstall" {
  description = "Typed to erase and install the system of a server that you rent: see the module of the provider. Null otherwise."
  type        = string
  default     = null

  validation {
    condition     = var.reinstall == null || contains(["hetzner-robot", "ovh-baremetal"], var.provider_name)
    error_message = "reinstall: only for servers that you rent (hetzner-robot, ovh-baremetal). On Hetzner Cloud use `terraform apply -replace`."
  }
}

variable "existing_host" {
  description = "For provider_name = \"existing-host\": its addresses."
  type = object({
    ipv4 = optional(string)
    ipv6 = optional(string)
  })
  default = null

  validation {
    condition     = (var.existing_host != null) == (var.provider_name == "existing-host")
    error_message = "existing_host: give it with provider_name = \"existing-host\", and only then."
  }
}

variable "hetzner_cloud" {
  description = "For provider_name = \"hetzner-cloud\"."
  type = object({
    location      = string
    server_type   = string
    image         = optional(string, "debian-12")
    ssh_key_names = optional(list(string), [])
  })
  default = null

  validation {
    condition     = (var.hetzner_cloud != null) == (var.provider_name == "hetzner-cloud")
    error_message = "hetzner_cloud: give it with provider_name = \"hetzner-cloud\", and only then."
  }
}

variable "hetzner_robot" {
  description = "For provider_name = \"hetzner-robot\": the server that you rent, and how it is installed."
  type = object({
    server_number       = number
    ipv4                = optional(string)
    ipv6                = optional(string)
    os                  = optional(string, "debian-12")
    system_disks        = list(string)
    raid_level          = optional(number)
    ssh_public_key_file = optional(string, "~/.ssh/id_ed25519.pub")
  })
  default = null

  validation {
    condition     = (var.hetzner_robot != null) == (var.provider_name == "hetzner-robot")
    error_message = "hetzner_robot: give it with provider_name = \"hetzner-robot\", and only then."
  }
}

variable "ovh_baremetal" {
  description = "For provider_name = \"ovh-baremetal\": the server that you ordered, and how it is installed."
  type = object({
    service_name  = string
    ipv6          = optional(string)
    os            = optional(string, "debian12_64")
    edge_firewall = optional(bool, true)
    system = optional(object({
      disk_group = optional(number)
      disks      = optional(number)
      raid_level = optional(number)
      layout = optional(list(object({
        mount_point = string
        file_system = string
        size        = number
      })))
    }), {})
  })
  default = null

  validation {
    condition     = (var.ovh_baremetal != null) == (var.provider_name == "ovh-baremetal")
    error_message = "ovh_baremetal: give it with provider_name = \"ovh-baremetal\", and only then."
  }
}

variable "provision" {
  description = "The program `provision`, which does for hetzner-robot what no provider does."
  type        = string
  default     = "provision"
}
