output "key_ids" {
  description = "Key → its resource name."
  value       = { for name, key in google_kms_crypto_key.keys : name => key.id }
}
