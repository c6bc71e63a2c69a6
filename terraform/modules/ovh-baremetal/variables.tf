variable "name" {
  description = "Name of the deployment; also the name of the host at its provider."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", var.name))
    error_message = "name: at most 32 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen, such as `hil` or `relay-1`."
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

variable "service_name" {
  description = "OVH's name of the server that you have ordered, such as ns1234567.ip-192-0-2.eu."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+(\\.[a-z0-9-]+)+$", var.service_name))
    error_message = "service_name: OVH's own name of the server, such as ns1234567.ip-192-0-2.eu; it stands in OVH's manager, and the command for the API is GET /dedicated/server."
  }
}

variable "ipv6" {
  description = "Address that the host uses from its IPv6 network; null when it has none."
  type        = string
  default     = null

  validation {
    condition     = var.ipv6 == null || (can(cidrhost("${var.ipv6}/128", 0)) && !can(cidrnetmask("${var.ipv6}/32")))
    error_message = "ipv6: an IPv6 address such as 2001:db8::1, without the length of its network, or null."
  }
}

variable "ssh_user" {
  description = "Who logs in by ssh; needs sudo without a password unless it is root."
  type        = string
  default     = "debian"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.ssh_user))
    error_message = "ssh_user: the name of a Linux user, such as `debian` or `root`."
  }
}

variable "ssh_port" {
  description = "Port of sshd."
  type        = number
  default     = 22

  validation {
    condition     = var.ssh_port >= 1 && var.ssh_port <= 65535 && floor(var.ssh_port) == var.ssh_port && !contains([80, 443], var.ssh_port)
    error_message = "ssh_port: a port from 1 to 65535, and neither 80 nor 443, which belong to the relay."
  }
}

variable "ssh_public_keys" {
  description = "Public keys that may log in, each as one line of authorized_keys."
  type        = list(string)

  validation {
    condition     = length(var.ssh_public_keys) > 0
    error_message = "ssh_public_keys: name at least one, or nobody can log in (`cat ~/.ssh/id_ed25519.pub` shows yours)."
  }
  validation {
    condition     = alltrue([for key in var.ssh_public_keys : can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\\.com|sk-ecdsa-sha2-nistp256@openssh\\.com) [A-Za-z0-9+/=]+( [^\\r\\n]*)?$", key))])
    error_message = "ssh_public_keys: each must be a public key on one line, such as `ssh-ed25519 AAAA… you@laptop`. A private key does not belong here."
  }
}

variable "data_disks" {
  description = "Disks for the relay's data. They are formatted later, by Ansible, and only if they are empty."
  type = list(object({
    by_id   = string
    mount   = string
    size_gb = number
  }))

  validation {
    condition     = length(var.data_disks) > 0
    error_message = "data_disks: name at least one disk, so that the event log does not fill the disk of the system."
  }
  validation {
    condition     = alltrue([for disk in var.data_disks : can(regex("^/dev/disk/by-id/[^/]+$", disk.by_id))])
    error_message = "data_disks: by_id must be a name in /dev/disk/by-id (`ls -l /dev/disk/by-id` on the host shows them). Names such as /dev/sdb mean another disk after a reboot."
  }
  validation {
    condition     = alltrue([for disk in var.data_disks : !can(regex("-part[0-9]+$", disk.by_id))])
    error_message = "data_disks: by_id must be a whole disk; leave out the end -partN."
  }
  validation {
    condition     = length(distinct([for disk in var.data_disks : disk.by_id])) == length(var.data_disks)
    error_message = "data_disks: two entries name the same disk (by_id); give each its own, or leave one out."
  }
  validation {
    condition     = length(distinct([for disk in var.data_disks : "${disk.mount} ${disk.size_gb}"])) == length(distinct(var.data_disks[*].mount))
    error_message = "data_disks: two entries have the same mount and different sizes. With the same mount they become one mirror, of disks of one size; if no mirror is meant give each its own, such as /data/relay and /data/postgres."
  }
  validation {
    condition     = alltrue([for disk in var.data_disks : can(regex("^(/[A-Za-z0-9][A-Za-z0-9._-]*)+$", disk.mount)) && !contains(["/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log"], disk.mount)])
    error_message = "data_disks: mount must be an absolute path that is not one of the system's own directories, such as /data/relay."
  }
  validation {
    condition     = alltrue([for disk in var.data_disks : disk.size_gb >= 10 && floor(disk.size_gb) == disk.size_gb])
    error_message = "data_disks: size_gb is the size of the disk in whole GB, at least 10; a smaller or other disk than expected is refused later."
  }
}

variable "reinstall" {
  description = "Typed to install the system, which erases the system's disks: the server's service_name, a slash, and a word that you did not use before, such as ns1234567.ip-192-0-2.eu/first. Null otherwise."
  type        = string
  default     = null

  validation {
    condition     = var.reinstall == null || can(regex("^${replace(var.service_name, ".", "\\.")}/[a-z0-9-]+$", var.reinstall))
    error_message = "reinstall: to erase the system of this server, type its own service_name, a slash and a new word, such as \"${var.service_name}/first\". Leave it out to change nothing."
  }
}

variable "os" {
  description = "OVH's template of the system, for the next installation."
  type        = string
  default     = "debian12_64"

  validation {
    condition     = contains(["debian12_64", "debian13_64", "ubuntu2404-server_64"], var.os)
    error_message = "os: one of debian12_64, debian13_64, ubuntu2404-server_64; Ansible's roles know these."
  }
}

variable "system" {
  description = "Disks and partitions of the system, for the next installation. `disk_group` and `disks` say on what OVH installs; the disks that are left stay untouched. Sizes are MiB, 0 is the rest."
  type = object({
    disk_group = optional(number, 1)
    disks      = optional(number, 1)
    raid_level = optional(number)
    layout = optional(list(object({
      mount_point = string
      file_system = string
      size        = number
      })), [
      { mount_point = "/boot", file_system = "ext4", size = 1024 },
      { mount_point = "swap", file_system = "swap", size = 4096 },
      { mount_point = "/", file_system = "ext4", size = 0 },
    ])
  })
  default = {}

  validation {
    condition     = contains([1, 2, 3, 4], var.system.disks) && var.system.disk_group >= 1
    error_message = "system: disks must be from 1 to 4, and disk_group a number from 1, as OVH's hardware specifications list it."
  }
  validation {
    condition     = var.system.raid_level == null || contains([0, 1, 5, 6, 7, 10], coalesce(var.system.raid_level, 1))
    error_message = "system: raid_level must be one of 0, 1, 5, 6, 7, 10 (software RAID), or left out."
  }
  validation {
    condition = var.system.raid_level == null || var.system.disks >= lookup(
      { "0" = 2, "1" = 2, "5" = 3, "6" = 4, "7" = 3, "10" = 4 }, tostring(coalesce(var.system.raid_level, 1)), 1
    )
    error_message = "system: this raid_level needs more disks: 0 and 1 need two, 5 and 7 three, 6 and 10 four. Raise disks, or choose another level."
  }
  validation {
    condition     = var.system.disks == 1 || var.system.raid_level != null
    error_message = "system: say the raid_level for more than one disk; 1 keeps the system when a disk fails."
  }
  validation {
    condition = alltrue([for part in var.system.layout :
      contains(part.mount_point == "swap" ? ["swap"] : ["btrfs", "ext4", "xfs"], part.file_system)
    ])
    error_message = "system: file_system must be ext4, xfs or btrfs, and swap for the mount_point swap."
  }
  validation {
    condition = alltrue([for part in var.system.layout :
      can(regex("^(swap|/|(/[a-z0-9][a-z0-9._-]*)+)$", part.mount_point)) && part.size >= 0 && floor(part.size) == part.size
    ])
    error_message = "system: each mount_point must be an absolute path or swap, and each size whole MiB (0 is the rest of the disk)."
  }
  validation {
    condition = (
      length([for part in var.system.layout : part if part.mount_point == "/"]) == 1 &&
      length([for part in var.system.layout : part if part.size == 0]) <= 1 &&
      length(distinct([for part in var.system.layout : part.mount_point])) == length(var.system.layout)
    )
    error_message = "system: the layout needs exactly one /, no mount_point twice, and at most one partition with size 0."
  }
  validation {
    condition     = length(setintersection([for part in var.system.layout : part.mount_point], [for disk in var.data_disks : disk.mount])) == 0
    error_message = "system: a mount_point of the layout is also the mount of a data disk; leave it out of the layout, so that the data disk stays untouched."
  }
}

variable "edge_firewall" {
  description = "Whether OVH's network drops what the host does not serve; without state, and for IPv4 only."
  type        = bool
  default     = true
}

variable "ssh_sources" {
  description = "IPv4 networks from which ssh is reachable through the edge firewall."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.ssh_sources) > 0 && length(var.ssh_sources) <= 10
    error_message = "ssh_sources: from one to ten networks; OVH's firewall has twenty rules."
  }
  validation {
    condition     = alltrue([for source in var.ssh_sources : can(cidrnetmask(source)) && try(cidrhost(source, 0) == split("/", source)[0], false)])
    error_message = "ssh_sources: each must be an IPv4 network whose host bits are zero, such as 192.0.2.7/32 or 198.51.100.0/24; OVH's edge firewall knows no IPv6."
  }
}
