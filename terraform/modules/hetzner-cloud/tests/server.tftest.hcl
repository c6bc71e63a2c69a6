variables {
  name            = "hil"
  hostname        = "hil.example.com"
  location        = "hil"
  server_type     = "ccx33"
  ssh_public_keys = ["ssh-ed25519 AAAAC3Nz operator@laptop"]
  ssh_sources     = ["198.51.100.0/24"]
  volumes         = [{ mount = "/data/relay", size_gb = 800 }]
}

# The health of a server is known after it is made; everything else is planned as it will be.
override_resource {
  target          = hcloud_server.this
  override_during = plan
  values          = { id = "9", status = "running" }
}

run "what_is_planned" {
  command = plan

  assert {
    condition     = hcloud_server.this.delete_protection && hcloud_server.this.rebuild_protection && hcloud_volume.data["data-relay"].delete_protection && hcloud_primary_ip.v4.delete_protection && hcloud_primary_ip.v6.delete_protection
    error_message = "something can be deleted by accident"
  }
  assert {
    condition     = !hcloud_primary_ip.v4.auto_delete && !hcloud_primary_ip.v6.auto_delete
    error_message = "the addresses would go with the server"
  }
  assert {
    condition     = hcloud_volume.data["data-relay"].format == null && hcloud_volume.data["data-relay"].size == 800
    error_message = "the volume is not raw, or not as large as asked"
  }
  assert {
    condition = toset([for rule in hcloud_firewall.this.rule : "${rule.direction} ${rule.protocol} ${try(coalesce(rule.port), "-")} ${join(",", sort(rule.source_ips))}"]) == toset([
      "in tcp 22 198.51.100.0/24",
      "in tcp 80 0.0.0.0/0,::/0",
      "in tcp 443 0.0.0.0/0,::/0",
      "in icmp - 0.0.0.0/0,::/0",
    ])
    error_message = "the firewall lets in other than ssh for operators, http, https and icmp"
  }
  assert {
    condition     = hcloud_rdns.v4.dns_ptr == "hil.example.com" && hcloud_rdns.v6.dns_ptr == "hil.example.com"
    error_message = "the addresses do not lead back to the name"
  }
}

run "no_such_size_in_this_place" {
  command = plan
  variables { server_type = "cx43" }
  expect_failures = [hcloud_server.this]
}

run "no_such_place" {
  command = plan
  variables { location = "lon1" }
  expect_failures = [var.location]
}

run "a_size_as_others_call_it" {
  command = plan
  variables { server_type = "CCX33" }
  expect_failures = [var.server_type]
}

run "a_volume_that_is_too_small" {
  command = plan
  variables { volumes = [{ mount = "/data/relay", size_gb = 9 }] }
  expect_failures = [var.volumes]
}

run "a_volume_that_is_too_large" {
  command = plan
  variables { volumes = [{ mount = "/data/relay", size_gb = 10241 }] }
  expect_failures = [var.volumes]
}

run "both_disks_the_same" {
  command = plan
  variables { volumes = [{ mount = "/data/relay", size_gb = 100 }, { mount = "/data/relay", size_gb = 200 }] }
  expect_failures = [var.volumes]
}

run "a_source_with_host_bits" {
  command = plan
  variables { ssh_sources = ["198.51.100.7/24"] }
  expect_failures = [var.ssh_sources]
}

run "nobody_may_log_in" {
  command = plan
  variables { ssh_sources = [] }
  expect_failures = [var.ssh_sources]
}

run "an_unknown_system" {
  command = plan
  variables { image = "debian-11" }
  expect_failures = [var.image]
}

run "a_url_for_a_name" {
  command = plan
  variables { hostname = "https://hil.example.com" }
  expect_failures = [var.hostname]
}
