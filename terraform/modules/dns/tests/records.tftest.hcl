variables {
  service   = "cloudflare"
  zone      = "example.com"
  hostnames = ["relay.example.com"]
  families  = ["ipv4", "ipv6"]
  ipv4      = "192.0.2.7"
  ipv6      = "2001:db8::7"
}

run "cloudflare" {
  command = plan

  # The provider lets typos inside `data` pass, so what is planned is looked at, not what is written.
  assert {
    condition = { for key, record in cloudflare_dns_record.caa : key => "${record.name} ${record.type} ${record.data.flags} ${record.data.tag} ${record.data.value}" } == {
      "relay.example.com CAA letsencrypt.org" = "relay.example.com CAA 0 issue letsencrypt.org"
      "relay.example.com CAA sectigo.com"     = "relay.example.com CAA 0 issue sectigo.com"
    }
    error_message = "the CAA records are not what was meant"
  }
  assert {
    condition = { for key, record in cloudflare_dns_record.address : key => "${record.name} ${record.content} ${record.ttl}" } == {
      "relay.example.com A"    = "relay.example.com 192.0.2.7 300"
      "relay.example.com AAAA" = "relay.example.com 2001:db8::7 300"
    }
    error_message = "the address records are not what was meant"
  }
  assert {
    condition     = alltrue([for record in merge(cloudflare_dns_record.address, cloudflare_dns_record.caa) : !record.proxied])
    error_message = "the proxy would end long WebSockets"
  }
  assert {
    condition     = output.by_hand == "" && length(hcloud_zone_rrset.address) == 0 && length(ovh_domain_zone_record.address) == 0
    error_message = "another service is asked too"
  }
}

run "hetzner_with_the_zone_itself_as_a_name" {
  command = plan
  variables {
    service   = "hetzner"
    hostnames = ["example.com", "dash.example.com"]
    families  = ["ipv4"]
    ipv6      = null
  }

  assert {
    condition = { for key, set in hcloud_zone_rrset.address : key => "${set.name} ${set.type}" } == {
      "example.com A"      = "@ A"
      "dash.example.com A" = "dash A"
    }
    error_message = "the names within the zone are wrong"
  }
  assert {
    condition     = toset([for record in hcloud_zone_rrset.caa["example.com"].records : record.value]) == toset(["0 issue \"letsencrypt.org\"", "0 issue \"sectigo.com\""])
    error_message = "the CAA records are not what was meant"
  }
}

run "ovh" {
  command = plan
  variables { service = "ovh" }

  assert {
    condition     = ovh_domain_zone_record.address["relay.example.com AAAA"].target == "2001:db8::7" && ovh_domain_zone_record.address["relay.example.com AAAA"].subdomain == "relay"
    error_message = "the record is wrong"
  }
  assert {
    condition     = ovh_domain_zone_record.caa["relay.example.com CAA sectigo.com"].target == "0 issue \"sectigo.com\""
    error_message = "the CAA record is wrong"
  }
}

run "by_hand" {
  command = plan
  variables { service = "print" }

  assert {
    condition     = output.by_hand == <<-EOT
      relay.example.com. 300 IN A 192.0.2.7
      relay.example.com. 300 IN AAAA 2001:db8::7
      relay.example.com. 300 IN CAA 0 issue "letsencrypt.org"
      relay.example.com. 300 IN CAA 0 issue "sectigo.com"
    EOT
    error_message = "what is printed cannot be entered:\n${output.by_hand}"
  }
  assert {
    condition     = length(cloudflare_dns_record.address) + length(hcloud_zone_rrset.address) + length(ovh_domain_zone_record.address) == 0
    error_message = "something is made although it is only to be printed"
  }
}

run "a_ttl_that_cloudflare_takes_and_its_api_does_not" {
  command = plan
  variables { ttl = 30 }
  expect_failures = [var.ttl]
}

run "half_a_second" {
  command = plan
  variables { ttl = 300.5 }
  expect_failures = [var.ttl]
}

run "a_name_in_another_zone" {
  command = plan
  variables { hostnames = ["relay.example.net"] }
  expect_failures = [var.hostnames]
}

run "addresses_exchanged" {
  command = plan
  variables {
    ipv4 = "2001:db8::7"
    ipv6 = "192.0.2.7"
  }
  expect_failures = [var.ipv4, var.ipv6]
}

run "an_address_that_is_promised_and_missing" {
  command = plan
  variables { ipv6 = null }
  expect_failures = [var.ipv6]
}

run "an_unknown_service" {
  command = plan
  variables { service = "route53" }
  expect_failures = [var.service]
}

run "nobody_may_issue" {
  command = plan
  variables { issuers = [] }
  expect_failures = [var.issuers]
}
