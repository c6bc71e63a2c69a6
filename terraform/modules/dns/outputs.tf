output "records" {
  description = "All records, whether they were made or have to be entered by hand."
  value       = [for record in local.printed : merge(record, { ttl = var.ttl })]
}

output "by_hand" {
  description = "What has to be entered by hand, as lines of a zone file; empty when it was made."
  value = var.service == "print" ? join("", [for record in local.printed :
    "${record.name}. ${var.ttl} IN ${record.type} ${record.value}\n"
  ]) : ""
}
