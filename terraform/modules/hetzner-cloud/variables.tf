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

variable "location" {
  description = "Where the server, its addresses and its volumes are."
  type        = string

  validation {
    condition     = contains(["fsn1", "nbg1", "hel1", "ash", "hil", "sin"], var.location)
    error_message = "location: one of fsn1, nbg1, hel1 (Europe), ash, hil (United States), sin (Singapore)."
  }
}

variable "server_type" {
  description = "Hetzner's name of the size, such as ccx33."
  type        = string

  validation {
    condition     = can(regex("^(cx|cpx|cax|ccx)[0-9]{2}$", var.server_type))
    error_message = "server_type: Hetzner's name of a size in lower case, such as ccx33 (8 dedicated cores, 32 GB)."
  }
}

variable "image" {
  description = "System of a new server. A later change does not touch the server that is there."
  type        = string
  default     = "debian-12"

  validation {
    condition     = contains(["debian-12", "debian-13", "ubuntu-24.04"], var.image)
    error_message = "image: one of debian-12, debian-13, ubuntu-24.04; Ansible's roles know these."
  }
}

variable "ssh_user" {
  description = "Who logs in by ssh; needs sudo without a password unless it is root."
  type        = string
  default     = "relay-admin"

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

variable "ssh_key_names" {
  description = "Keys of the project at Hetzner that a new server also gets, by name; without any, Hetzner mails a password for root, with which nobody can log in."
  type        = list(string)
  default     = []
}

variable "ssh_sources" {
  description = "Networks from which ssh is reachable, in CIDR notation."
  type        = list(string)

  validation {
    condition     = length(var.ssh_sources) > 0
    error_message = "ssh_sources: name at least one network, or nobody can log in; [\"0.0.0.0/0\", \"::/0\"] is everywhere."
  }
  validation {
    condition     = alltrue([for source in var.ssh_sources : can(cidrhost(source, 0)) && try(cidrhost(source, 0) == split("/", source)[0], false)])
    error_message = "ssh_sources: each must be a network whose host bits are zero, such as 192.0.2.7/32, 198.51.100.0/24 or 2001:db8::/48 (in its shortest form)."
  }
}

variable "volumes" {
  description = "Volumes for the relay's data. They stay raw: Ansible formats them."
  type = list(object({
    mount   = string
    size_gb = number
  }))

  validation {
    condition     = length(var.volumes) > 0 && length(var.volumes) <= 16
    error_message = "volumes: from one to 16, which is what a server takes."
  }
  validation {
    condition     = length(distinct([for volume in var.volumes : volume.mount])) == length(var.volumes)
    error_message = "volumes: two have the same mount; give each its own, such as /data/relay and /data/postgres."
  }
  validation {
    condition     = alltrue([for volume in var.volumes : can(regex("^(/[a-z0-9][a-z0-9._-]*)+$", volume.mount)) && !contains(["/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log"], volume.mount)])
    error_message = "volumes: mount must be an absolute path in lower case that is not one of the system's own directories, such as /data/relay."
  }
  validation {
    condition     = alltrue([for volume in var.volumes : volume.size_gb >= 10 && volume.size_gb <= 10240 && floor(volume.size_gb) == volume.size_gb])
    error_message = "volumes: size_gb must be a whole number from 10 to 10240. A volume can grow later, but never shrink."
  }
}

variable "protect" {
  description = "Whether Hetzner refuses to delete or rebuild the server, its addresses and its volumes. Set it to false and apply before you destroy."
  type        = bool
  default     = true
}
