output "user_data" {
  description = "Text for the provider's field user_data."
  value       = local.user_data

  precondition {
    condition     = length(local.user_data) <= 32768
    error_message = "user_data has ${length(local.user_data)} bytes; providers take 32768. Name fewer ssh_public_keys."
  }
}
