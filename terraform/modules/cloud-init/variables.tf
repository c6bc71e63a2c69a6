variable "hostname" {
  description = "Public name of the relay."
  type        = string

  validation {
    condition     = length(var.hostname) <= 253 && can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]*[a-z0-9])?$", var.hostname))
    error_message = "hostname: the full public name in lower case without https:// and without a final dot, such as `relay.example.com`."
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
