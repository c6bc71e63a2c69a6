variables {
  name                = "fsn"
  hostname            = "relay.example.com"
  server_number       = 321
  ipv4                = "203.0.113.10"
  ipv6                = "2001:db8:321::1"
  ssh_public_key_file = "./tests/key.pub"
  journal             = "./robot.json"
  system_disks        = ["/dev/disk/by-id/one", "/dev/disk/by-id/two"]
  raid_level          = 1
  data_disks          = [{ by_id = "/dev/disk/by-id/data", mount = "/data/relay", size_gb = 960 }]
}

run "nothing_is_installed_without_the_word" {
  command = plan

  assert {
    condition     = length(terraform_data.installed) == 0
    error_message = "the system would be erased"
  }
  assert {
    condition     = output.host.provider == "hetzner-robot" && output.host.ipv6 == "2001:db8:321::1"
    error_message = "the contract is wrong"
  }
}

run "installed_with_the_word" {
  command = plan
  variables { reinstall = "321/first" }

  assert {
    condition     = keys(terraform_data.installed) == ["321/first"]
    error_message = "nothing would be installed"
  }
}

run "the_word_for_another_server" {
  command = plan
  variables { reinstall = "322/first" }
  expect_failures = [var.reinstall]
}

run "both_disks_the_same" {
  command = plan
  variables { system_disks = ["/dev/disk/by-id/one", "/dev/disk/by-id/data"] }
  expect_failures = [var.system_disks]
}

run "a_name_that_changes_at_a_restart" {
  command = plan
  variables {
    system_disks = ["/dev/nvme0n1"]
    raid_level   = null
  }
  expect_failures = [var.system_disks]
}

run "two_disks_without_a_level" {
  command = plan
  variables { raid_level = null }
  expect_failures = [var.raid_level]
}

run "a_level_that_needs_more_disks" {
  command = plan
  variables { raid_level = 5 }
  expect_failures = [var.raid_level]
}

run "a_private_key" {
  command = plan
  variables { ssh_public_key_file = "./main.tf" }
  expect_failures = [var.ssh_public_key_file]
}

run "more_networks_than_rules" {
  command = plan
  variables { ssh_sources = [for number in range(5) : "192.0.2.${number}/32"] }
  expect_failures = [var.ssh_sources]
}
