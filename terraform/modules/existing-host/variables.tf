variable "name" {
  description = "Name of the deployment; also the name of the host at its provider."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", var.name))
    error_message = "name: at most 32 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen, such as `hil` or `relay-1`."
  }
}

variable "ipv4" {
  description = "Public IPv4 address; null when there is none."
  type        = string
  default     = null

  validation {
    condition     = var.ipv4 == null || can(cidrnetmask("${var.ipv4}/32"))
    error_message = "ipv4: an IPv4 address such as 192.0.2.7, or null."
  }
}

variable "ipv6" {
  description = "Public IPv6 address; null when there is none."
  type        = string
  default     = null

  validation {
    condition     = var.ipv6 == null || (can(cidrhost("${var.ipv6}/128", 0)) && !can(cidrnetmask("${var.ipv6}/32")))
    error_message = "ipv6: an IPv6 address such as 2001:db8::7, without the length of its network, or null."
  }
  validation {
    condition     = var.ipv4 != null || var.ipv6 != null
    error_message = "ipv4, ipv6: give at least one of them."
  }
}

variable "ssh_user" {
  description = "Who logs in by ssh; needs sudo without a password unless it is root."
  type        = string
  default     = "root"

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
