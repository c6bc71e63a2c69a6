variables {
  name            = "rbx"
  hostname        = "relay.example.com"
  service_name    = "ns1.ip-192-0-2.eu"
  ssh_public_keys = ["ssh-ed25519 AAAAC3Nz operator@laptop"]
  data_disks      = [{ by_id = "/dev/disk/by-id/nvme-two", mount = "/data/relay", size_gb = 960 }]
}

run "nothing_is_installed_without_the_word" {
  command = plan

  assert {
    condition     = length(ovh_dedicated_server_reinstall_task.this) == 0
    error_message = "the system would be erased"
  }
  assert {
    condition     = ovh_ip_reverse.v4.ip == "192.0.2.10/32" && ovh_ip_reverse.v4.reverse == "relay.example.com."
    error_message = "the address does not lead back to the name"
  }
  assert {
    condition     = output.host.ipv4 == "192.0.2.10" && output.host.provider == "ovh-baremetal"
    error_message = "the contract is wrong"
  }
}

run "installed_with_the_word" {
  command = plan
  variables { reinstall = "ns1.ip-192-0-2.eu/first" }

  assert {
    condition     = ovh_dedicated_server_reinstall_task.this["ns1.ip-192-0-2.eu/first"].storage[0].partitioning[0].disks == 1
    error_message = "the disk of the data would be taken"
  }
  assert {
    condition = [for part in ovh_dedicated_server_reinstall_task.this["ns1.ip-192-0-2.eu/first"].storage[0].partitioning[0].layout : "${part.mount_point} ${part.file_system} ${part.size}"] == [
      "/boot ext4 1024", "swap swap 4096", "/ ext4 0",
    ]
    error_message = "the partitions are not what was meant"
  }
  assert {
    condition     = ovh_dedicated_server_reinstall_task.this["ns1.ip-192-0-2.eu/first"].bootid_on_destroy == null
    error_message = "taking the word back would reboot the server"
  }
}

run "the_edge_lets_in_what_the_host_serves" {
  command = plan
  variables { ssh_sources = ["198.51.100.0/24", "192.0.2.1/32"] }

  assert {
    condition = [for rule in ovh_ip_firewall_rule.permit : "${rule.sequence} ${rule.action} ${rule.protocol}"] == [
      "0 permit tcp", "1 permit icmp", "2 permit tcp", "3 permit tcp", "4 permit udp", "5 permit udp",
      "6 permit tcp", "7 permit tcp",
    ]
    error_message = "the rules are not what was meant"
  }
  assert {
    condition     = [for place in [2, 3, 6, 7] : ovh_ip_firewall_rule.permit[place].destination_port] == [80, 443, 22, 22]
    error_message = "other ports than http, https and ssh are let in"
  }
  assert {
    condition     = ovh_ip_firewall_rule.permit[0].tcp_option == "established" && [for place in [6, 7] : ovh_ip_firewall_rule.permit[place].source] == ["198.51.100.0/24", "192.0.2.1/32"]
    error_message = "anybody reaches everything, or ssh"
  }
  assert {
    condition     = [for place in [4, 5] : ovh_ip_firewall_rule.permit[place].source_port] == [53, 123]
    error_message = "answers of name and time servers are dropped"
  }
  assert {
    condition     = ovh_ip_firewall_rule.deny[0].sequence == 19 && ovh_ip_firewall_rule.deny[0].action == "deny"
    error_message = "everything else is let in"
  }
}

run "no_edge_firewall" {
  command = plan
  variables { edge_firewall = false }

  assert {
    condition     = length(ovh_ip_firewall_rule.permit) + length(ovh_ip_firewall_rule.deny) + length(ovh_ip_firewall.this) == 0
    error_message = "there is one"
  }
}

run "the_word_for_another_server" {
  command = plan
  variables { reinstall = "ns2.ip-192-0-2.eu/first" }
  expect_failures = [var.reinstall]
}

run "only_yes" {
  command = plan
  variables { reinstall = "yes" }
  expect_failures = [var.reinstall]
}

run "a_file_system_that_nobody_checks" {
  command = plan
  variables {
    system = { layout = [{ mount_point = "/", file_system = "ext5", size = 0 }] }
  }
  expect_failures = [var.system]
}

run "a_raid_level_that_nobody_checks" {
  command = plan
  variables { system = { disks = 2, raid_level = 2 } }
  expect_failures = [var.system]
}

run "a_mirror_of_one_disk" {
  command = plan
  variables { system = { disks = 1, raid_level = 1 } }
  expect_failures = [var.system]
}

run "two_disks_without_a_level" {
  command = plan
  variables { system = { disks = 2 } }
  expect_failures = [var.system]
}

run "two_rests" {
  command = plan
  variables {
    system = { layout = [{ mount_point = "/", file_system = "ext4", size = 0 }, { mount_point = "/home", file_system = "ext4", size = 0 }] }
  }
  expect_failures = [var.system]
}

run "the_data_in_the_layout" {
  command = plan
  variables {
    system = { layout = [{ mount_point = "/", file_system = "ext4", size = 0 }, { mount_point = "/data/relay", file_system = "xfs", size = 1024 }] }
  }
  expect_failures = [var.system]
}

run "a_disk_group_that_is_not_there" {
  command = plan
  variables {
    reinstall = "ns1.ip-192-0-2.eu/first"
    system    = { disk_group = 3 }
  }
  expect_failures = [ovh_dedicated_server_reinstall_task.this["ns1.ip-192-0-2.eu/first"]]
}

run "more_disks_than_the_group_has" {
  command = plan
  variables {
    reinstall = "ns1.ip-192-0-2.eu/first"
    system    = { disks = 3, raid_level = 5 }
  }
  expect_failures = [ovh_dedicated_server_reinstall_task.this["ns1.ip-192-0-2.eu/first"]]
}

run "a_source_that_the_edge_does_not_know" {
  command = plan
  variables { ssh_sources = ["2001:db8::/48"] }
  expect_failures = [var.ssh_sources]
}
