locals {
  addresses = merge(
    contains(var.families, "ipv4") ? { A = var.ipv4 } : {},
    contains(var.families, "ipv6") ? { AAAA = var.ipv6 } : {},
  )
  # The names of this map are known before the addresses are.
  address_records = merge([for name in var.hostnames : {
    for type, address in local.addresses : "${name} ${type}" => { name = name, type = type, value = address }
  }]...)
  caa_records = merge([for name in var.hostnames : {
    for issuer in var.issuers : "${name} CAA ${issuer}" => { name = name, issuer = issuer }
  }]...)

  # Names within the zone, as Hetzner and OVH want them; empty is the zone itself.
  short = { for name in var.hostnames : name => name == var.zone ? "" : trimsuffix(name, ".${var.zone}") }

  printed = concat(
    [for record in local.address_records : record],
    [for record in local.caa_records : { name = record.name, type = "CAA", value = "0 issue \"${record.issuer}\"" }],
  )
}

# --- Cloudflare

data "cloudflare_zone" "this" {
  count  = var.service == "cloudflare" ? 1 : 0
  filter = { name = var.zone }
}

resource "cloudflare_dns_record" "address" {
  for_each = { for key, record in local.address_records : key => record if var.service == "cloudflare" }
  zone_id  = data.cloudflare_zone.this[0].zone_id
  name     = each.value.name
  type     = each.value.type
  content  = each.value.value
  ttl      = var.ttl
  # The proxy ends WebSockets that are open for long, and hides consumers' addresses from the relay.
  proxied = false
}

resource "cloudflare_dns_record" "caa" {
  for_each = { for key, record in local.caa_records : key => record if var.service == "cloudflare" }
  zone_id  = data.cloudflare_zone.this[0].zone_id
  name     = each.value.name
  type     = "CAA"
  data     = { flags = 0, tag = "issue", value = each.value.issuer }
  ttl      = var.ttl
  proxied  = false
}

# --- Hetzner

data "hcloud_zone" "this" {
  count = var.service == "hetzner" ? 1 : 0
  name  = var.zone
}

resource "hcloud_zone_rrset" "address" {
  for_each = { for key, record in local.address_records : key => record if var.service == "hetzner" }
  zone     = data.hcloud_zone.this[0].name
  name     = local.short[each.value.name] == "" ? "@" : local.short[each.value.name]
  type     = each.value.type
  ttl      = var.ttl
  records  = [{ value = each.value.value }]
}

resource "hcloud_zone_rrset" "caa" {
  for_each = var.service == "hetzner" ? toset(var.hostnames) : toset([])
  zone     = data.hcloud_zone.this[0].name
  name     = local.short[each.value] == "" ? "@" : local.short[each.value]
  type     = "CAA"
  ttl      = var.ttl
  records  = [for issuer in var.issuers : { value = "0 issue \"${issuer}\"" }]
}

# --- OVH

data "ovh_domain_zone" "this" {
  count = var.service == "ovh" ? 1 : 0
  name  = var.zone
}

resource "ovh_domain_zone_record" "address" {
  for_each  = { for key, record in local.address_records : key => record if var.service == "ovh" }
  zone      = data.ovh_domain_zone.this[0].name
  subdomain = local.short[each.value.name]
  fieldtype = each.value.type
  target    = each.value.value
  ttl       = var.ttl
}

resource "ovh_domain_zone_record" "caa" {
  for_each  = { for key, record in local.caa_records : key => record if var.service == "ovh" }
  zone      = data.ovh_domain_zone.this[0].name
  subdomain = local.short[each.value.name]
  fieldtype = "CAA"
  target    = "0 issue \"${each.value.issuer}\""
  ttl       = var.ttl
}

check "dns" {
  assert {
    condition     = alltrue([for zone in data.cloudflare_zone.this : zone.status == "active"])
    error_message = "Cloudflare does not serve ${var.zone} yet: enter its name servers at your registrar, or nobody will find the relay."
  }
  assert {
    condition     = alltrue([for zone in data.hcloud_zone.this : zone.mode == "primary"])
    error_message = "Hetzner only copies ${var.zone} from another server; enter the records there, with service = \"print\"."
  }
}
