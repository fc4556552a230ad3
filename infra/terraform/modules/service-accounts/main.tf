# Identities and what they may do in the whole project. Grants on one key, secret, topic or dataset
# stand beside that resource.

locals {
  _grants = merge([
    for name, account in var.service_accounts : {
      for role in account.roles : "${name}/${role}" => { account = name, role = role }
    }
  ]...)
}

resource "google_project_iam_custom_role" "roles" {
  for_each = var.custom_roles

  project = var.project_id
  # A deleted role's ID cannot be used again for 37 days: a role changes, its name stays.
  role_id     = "convergence_${each.key}"
  title       = "Convergence: ${replace(each.key, "_", " ")}"
  description = each.value.description
  permissions = each.value.permissions
}

resource "google_service_account" "accounts" {
  for_each = var.service_accounts

  project      = var.project_id
  account_id   = each.key
  display_name = "Convergence ${each.key}"
  description  = each.value.description
}

resource "google_project_iam_member" "roles" {
  for_each = local._grants

  project = var.project_id
  role = (
    startswith(each.value.role, "roles/")
    ? each.value.role
    : google_project_iam_custom_role.roles[each.value.role].id
  )
  member = google_service_account.accounts[each.value.account].member
}
