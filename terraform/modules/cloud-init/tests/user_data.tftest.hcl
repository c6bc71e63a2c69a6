variables {
  hostname        = "relay.example.com"
  ssh_public_keys = ["ssh-ed25519 AAAAC3Nz operator@laptop"]
}

run "an_operator_can_log_in_and_nobody_by_password" {
  command = plan

  assert {
    condition     = startswith(output.user_data, "#cloud-config\n")
    error_message = "cloud-init ignores the text without its first line"
  }
  assert {
    condition     = yamldecode(output.user_data).users[0].name == "relay-admin" && yamldecode(output.user_data).users[0].ssh_authorized_keys[0] == "ssh-ed25519 AAAAC3Nz operator@laptop"
    error_message = "the operator has no key"
  }
  assert {
    condition     = yamldecode(output.user_data).ssh_pwauth == false && yamldecode(output.user_data).disable_root == true
    error_message = "passwords or root are open"
  }
  assert {
    condition     = length(setintersection(keys(yamldecode(output.user_data)), ["disk_setup", "fs_setup", "mounts", "bootcmd", "runcmd"])) == 0
    error_message = "disks are Ansible's"
  }
}

run "root_gets_the_keys_when_root_logs_in" {
  command = plan
  variables { ssh_user = "root" }

  assert {
    condition     = yamldecode(output.user_data).ssh_authorized_keys[0] == "ssh-ed25519 AAAAC3Nz operator@laptop" && yamldecode(output.user_data).disable_root == false
    error_message = "root cannot log in"
  }
}

run "another_port" {
  command = plan
  variables { ssh_port = 2222 }

  assert {
    condition     = yamldecode(output.user_data).write_files[0].content == "Port 2222\n"
    error_message = "sshd does not listen where the contract says"
  }
}

run "a_private_key" {
  command = plan
  variables { ssh_public_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"] }
  expect_failures = [var.ssh_public_keys]
}

run "two_keys_on_one_entry" {
  command = plan
  variables { ssh_public_keys = ["ssh-ed25519 AAAA a\nssh-ed25519 BBBB b"] }
  expect_failures = [var.ssh_public_keys]
}

run "nobody" {
  command = plan
  variables { ssh_public_keys = [] }
  expect_failures = [var.ssh_public_keys]
}

run "more_than_a_provider_takes" {
  command = plan
  variables { ssh_public_keys = [for number in range(900) : "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA${number} operator@laptop"] }
  expect_failures = [output.user_data]
}
