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

variable "server_number" {
  description = "Hetzner's number of the server that you rent (`provision robot list` shows it)."
  type        = number

  validation {
    condition     = var.server_number >= 1 && floor(var.server_number) == var.server_number
    error_message = "server_number: Hetzner's number of the server, such as 321; `provision robot list` shows it."
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

variable "ssh_public_key_file" {
  description = "File with the public key that may log in to the rescue system and to the installed one."
  type        = string
  default     = "~/.ssh/id_ed25519.pub"

  validation {
    condition     = can(regex("^(ssh-|ecdsa-|sk-)", file(pathexpand(var.ssh_public_key_file))))
    error_message = "ssh_public_key_file: a file with a public key is needed, such as ~/.ssh/id_ed25519.pub; `ssh-keygen -t ed25519` makes one."
  }
}

variable "ssh_sources" {
  description = "IPv4 networks from which ssh is reachable through Hetzner's firewall; up to four."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.ssh_sources) > 0 && length(var.ssh_sources) <= 4
    error_message = "ssh_sources: from one to four networks; Hetzner's firewall has ten rules."
  }
  validation {
    condition     = alltrue([for source in var.ssh_sources : can(cidrnetmask(source)) && try(cidrhost(source, 0) == split("/", source)[0], false)])
    error_message = "ssh_sources: each must be an IPv4 network whose host bits are zero, such as 192.0.2.7/32 or 198.51.100.0/24."
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
  description = "Typed to install the system, which erases the disks of the system: the server's number, a slash, and a word that you did not use before, such as 321/first. Null otherwise."
  type        = string
  default     = null

  validation {
    condition     = var.reinstall == null || can(regex("^${var.server_number}/[a-z0-9-]+$", var.reinstall))
    error_message = "reinstall: to erase the system of this server, type its own number, a slash and a new word, such as \"${var.server_number}/first\". Leave it out to change nothing."
  }
}

variable "os" {
  description = "System, for the next installation."
  type        = string
  default     = "debian-12"

  validation {
    condition     = contains(["debian-12", "debian-13", "ubuntu-24.04"], var.os)
    error_message = "os: one of debian-12, debian-13, ubuntu-24.04; Ansible's roles know these."
  }
}

variable "system_disks" {
  description = "Disks for the system, for the next installation, which erases them: their names in /dev/disk/by-id."
  type        = list(string)

  validation {
    condition     = length(var.system_disks) > 0 && alltrue([for disk in var.system_disks : can(regex("^/dev/disk/by-id/[A-Za-z0-9._:+-]+$", disk)) && !can(regex("-part[0-9]+$", disk))])
    error_message = "system_disks: at least one whole disk by its name in /dev/disk/by-id (`ls -l /dev/disk/by-id` in the rescue system shows them)."
  }
  validation {
    condition     = length(distinct(concat(var.system_disks, [for disk in var.data_disks : disk.by_id]))) == length(var.system_disks) + length(var.data_disks)
    error_message = "system_disks: a disk is named twice, or is also a data disk; each disk is for the system or for data."
  }
}

variable "raid_level" {
  description = "Software RAID of several system disks: 0, 1, 5, 6 or 10. Null for one disk."
  type        = number
  default     = null

  validation {
    condition = var.raid_level == null ? length(var.system_disks) == 1 : length(var.system_disks) >= lookup(
      { "0" = 2, "1" = 2, "5" = 3, "6" = 4, "10" = 4 }, tostring(coalesce(var.raid_level, 1)), 99
    )
    error_message = "raid_level: leave it out for one system disk, and say it for several: 0 or 1 (two disks), 5 (three), 6 or 10 (four)."
  }
}

variable "provision" {
  description = "The program `provision`, which talks to Robot."
  type        = string
  default     = "provision"
}

variable "journal" {
  description = "File in which the steps of an installation are kept, so that an interrupted one goes on."
  type        = string
}
