variables {
  name       = "home"
  ipv4       = "192.0.2.7"
  data_disks = [{ by_id = "/dev/disk/by-id/nvme-one", mount = "/data/relay", size_gb = 100 }]
}

run "the_contract_is_what_was_said" {
  command = plan

  assert {
    condition = jsonencode(output.host) == jsonencode({
      name       = "home"
      ipv4       = "192.0.2.7"
      ipv6       = null
      ssh_user   = "root"
      ssh_port   = 22
      data_disks = [{ by_id = "/dev/disk/by-id/nvme-one", mount = "/data/relay", size_gb = 100 }]
      provider   = "existing-host"
    })
    error_message = "the contract differs from the variables"
  }
}

run "both_disks_the_same" {
  command = plan
  variables {
    data_disks = [
      { by_id = "/dev/disk/by-id/nvme-one", mount = "/data/relay", size_gb = 100 },
      { by_id = "/dev/disk/by-id/nvme-one", mount = "/data/postgres", size_gb = 100 },
    ]
  }
  expect_failures = [var.data_disks]
}

run "both_mounts_the_same_and_not_the_size" {
  command = plan
  variables {
    data_disks = [
      { by_id = "/dev/disk/by-id/nvme-one", mount = "/data/relay", size_gb = 100 },
      { by_id = "/dev/disk/by-id/nvme-two", mount = "/data/relay", size_gb = 200 },
    ]
  }
  expect_failures = [var.data_disks]
}

run "two_disks_for_one_mirror" {
  command = plan
  variables {
    data_disks = [
      { by_id = "/dev/disk/by-id/nvme-one", mount = "/data/relay", size_gb = 100 },
      { by_id = "/dev/disk/by-id/nvme-two", mount = "/data/relay", size_gb = 100 },
    ]
  }
  assert {
    condition     = length(output.host.data_disks) == 2
    error_message = "two disks with the same mount are a mirror, and both are handed on"
  }
}

run "a_name_that_changes_at_a_reboot" {
  command = plan
  variables {
    data_disks = [{ by_id = "/dev/sdb", mount = "/data/relay", size_gb = 100 }]
  }
  expect_failures = [var.data_disks]
}

run "a_partition" {
  command = plan
  variables {
    data_disks = [{ by_id = "/dev/disk/by-id/nvme-one-part1", mount = "/data/relay", size_gb = 100 }]
  }
  expect_failures = [var.data_disks]
}

run "a_directory_of_the_system" {
  command = plan
  variables {
    data_disks = [{ by_id = "/dev/disk/by-id/nvme-one", mount = "/var/lib", size_gb = 100 }]
  }
  expect_failures = [var.data_disks]
}

run "too_small" {
  command = plan
  variables {
    data_disks = [{ by_id = "/dev/disk/by-id/nvme-one", mount = "/data/relay", size_gb = 9 }]
  }
  expect_failures = [var.data_disks]
}

run "no_disk" {
  command = plan
  variables { data_disks = [] }
  expect_failures = [var.data_disks]
}

run "no_address" {
  command = plan
  variables { ipv4 = null }
  expect_failures = [var.ipv6]
}

run "an_address_of_the_new_kind_for_the_old" {
  command = plan
  variables { ipv4 = "2001:db8::7" }
  expect_failures = [var.ipv4]
}

run "an_address_of_the_old_kind_for_the_new" {
  command = plan
  variables { ipv6 = "192.0.2.7" }
  expect_failures = [var.ipv6]
}

run "a_port_of_the_relay" {
  command = plan
  variables { ssh_port = 443 }
  expect_failures = [var.ssh_port]
}

run "a_name_with_capitals" {
  command = plan
  variables { name = "Home" }
  expect_failures = [var.name]
}
