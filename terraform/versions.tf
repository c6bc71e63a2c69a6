terraform {
  required_version = ">= 1.11"

  # State lies with the deployment: `init` says where. For a team, see README.md.
  backend "local" {}

  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.22"
    }
    hcloud = {
      source  = "hetznercloud/hcloud"
      version = "~> 1.68"
    }
    ovh = {
      source  = "ovh/ovh"
      version = "~> 2.19"
    }
  }
}

# Tokens come from the environment only: HCLOUD_TOKEN, OVH_*, CLOUDFLARE_API_TOKEN. Terraform starts all
# three plugins for every deployment; those that a deployment does not use must not ask for a token.

provider "hcloud" {
  token = local.uses_hcloud ? null : "0000000000000000000000000000000000000000000000000000000000000000"
}

provider "ovh" {
  ignore_init_error = !local.uses_ovh
}

provider "cloudflare" {}
