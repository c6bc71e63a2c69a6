variable "service" {
  description = "Who serves the zone; `print` only says what has to be entered by hand."
  type        = string

  validation {
    condition     = contains(["cloudflare", "hetzner", "ovh", "print"], var.service)
    error_message = "service: one of cloudflare, hetzner, ovh, or print for a zone that is served elsewhere."
  }
}

variable "zone" {
  description = "The zone at the service, such as example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]*[a-z0-9])?$", var.zone))
    error_message = "zone: the zone's name in lower case without a final dot, such as example.com."
  }
}

variable "hostnames" {
  description = "Names of the relay; the first is its public name."
  type        = list(string)

  validation {
    condition     = length(var.hostnames) > 0 && length(distinct(var.hostnames)) == length(var.hostnames)
    error_message = "hostnames: at least one name, and none twice."
  }
  validation {
    condition     = alltrue([for name in var.hostnames : name == var.zone || endswith(name, ".${var.zone}")])
    error_message = "hostnames: each must lie in the zone, such as relay.example.com in example.com."
  }
  validation {
    condition     = alltrue([for name in var.hostnames : can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]*[a-z0-9])?$", name))])
    error_message = "hostnames: each must be a full name in lower case without a final dot, such as relay.example.com."
  }
}

variable "families" {
  description = "Kinds of addresses that the host has: ipv4, ipv6. Said here because the addresses themselves may not be known before they are made."
  type        = set(string)

  validation {
    condition     = length(var.families) > 0 && length(setsubtract(var.families, ["ipv4", "ipv6"])) == 0
    error_message = "families: ipv4, ipv6, or both."
  }
}

variable "ipv4" {
  description = "Address of the host, if families has ipv4."
  type        = string
  default     = null

  validation {
    condition     = var.ipv4 == null || can(cidrnetmask("${var.ipv4}/32"))
    error_message = "ipv4: an IPv4 address such as 192.0.2.7."
  }
  validation {
    condition     = !contains(var.families, "ipv4") || var.ipv4 != null
    error_message = "ipv4: families says that there is one; give it, or take ipv4 out of families."
  }
}

variable "ipv6" {
  description = "Address of the host, if families has ipv6."
  type        = string
  default     = null

  validation {
    condition     = var.ipv6 == null || (can(cidrhost("${var.ipv6}/128", 0)) && !can(cidrnetmask("${var.ipv6}/32")))
    error_message = "ipv6: an IPv6 address such as 2001:db8::7."
  }
  validation {
    condition     = !contains(var.families, "ipv6") || var.ipv6 != null
    error_message = "ipv6: families says that there is one; give it, or take ipv6 out of families."
  }
}

variable "ttl" {
  description = "Seconds that others may keep the records."
  type        = number
  default     = 300

  validation {
    condition     = var.ttl >= 60 && var.ttl <= 86400 && floor(var.ttl) == var.ttl
    error_message = "ttl: whole seconds from 60 to 86400; 300 lets a relay change its host within minutes."
  }
}

variable "issuers" {
  description = "Certificate authorities that may issue for the names (CAA); those that Caddy asks."
  type        = list(string)
  default     = ["letsencrypt.org", "sectigo.com"]

  validation {
    condition     = length(var.issuers) > 0 && alltrue([for issuer in var.issuers : can(regex("^([a-z0-9-]+\\.)+[a-z]+$", issuer))])
    error_message = "issuers: names of authorities as they stand in CAA records, such as letsencrypt.org; at least one."
  }
}
