output "names" {
  description = "Secret → its name, once who uses it may read it."
  value       = { for name, secret in google_secret_manager_secret.secrets : name => secret.secret_id }
}
