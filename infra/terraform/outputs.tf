output "load_balancer_address" {
  description = "IPv4 address for the A records of the domains."
  value       = module.load_balancer.address
}

output "function_uris" {
  description = "Function → its Cloud Run URL."
  value       = { for name, function in module.functions : name => function.uri }
}

output "function_bundles" {
  description = "Function → the archive it runs; the name holds a hash of the contents."
  value       = { for name, function in module.functions : name => function.bundle }
}

output "service_account_emails" {
  description = "Service account → its address, for grants in other projects (a billing export elsewhere)."
  value       = module.service_accounts.emails
}

output "secret_names" {
  description = "Secrets that still need a version: values are never in this configuration."
  value       = module.secrets.names
}

output "key_ids" {
  description = "Crypto key → its resource name."
  value       = module.kms.key_ids
}

output "dashboard" {
  description = "The dashboard's resource name."
  value       = module.monitoring.dashboard_id
}
