output "emails" {
  description = "Account → its address."
  value       = { for name, account in google_service_account.accounts : name => account.email }
  # Who names an account wants it to be able to do its work.
  depends_on = [google_project_iam_member.roles]
}

output "ids" {
  description = "Account → its resource name."
  value       = { for name, account in google_service_account.accounts : name => account.name }
}

output "members" {
  description = "Account → it as an IAM member."
  value       = { for name, account in google_service_account.accounts : name => account.member }
}

output "role_ids" {
  description = "Custom role → its resource name."
  value       = { for name, role in google_project_iam_custom_role.roles : name => role.id }
}
