locals {
  is_root   = var.ssh_user == "root"
  is_usual  = var.ssh_port == 22
  user_data = "#cloud-config\n${yamlencode({ for key, value in local.config : key => value if value != null })}"

  # What must be true before Ansible can log in, and no more: one code path does the rest on all hosts.
  # Disks are not touched here.
  config = {
    hostname            = split(".", var.hostname)[0]
    fqdn                = var.hostname
    manage_etc_hosts    = true
    ssh_pwauth          = false
    disable_root        = !local.is_root
    package_update      = true
    packages            = ["python3"]
    ssh_authorized_keys = local.is_root ? var.ssh_public_keys : null
    users = local.is_root ? null : [{
      name                = var.ssh_user
      shell               = "/bin/bash"
      lock_passwd         = true
      sudo                = "ALL=(ALL) NOPASSWD:ALL"
      ssh_authorized_keys = var.ssh_public_keys
    }]
    write_files = local.is_usual ? null : [{
      path        = "/etc/ssh/sshd_config.d/10-port.conf"
      permissions = "0644"
      content     = "Port ${var.ssh_port}\n"
    }]
    runcmd = local.is_usual ? null : [["systemctl", "restart", "ssh"]]
  }
}
