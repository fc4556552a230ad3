# Secrets without values. Values are added with `gcloud secrets versions add`, so that they stand in no
# state, plan or log.

resource "google_secret_manager_secret" "secrets" {
  for_each = var.secrets

  project   = var.project_id
  secret_id = each.value

  # A destroyed version can be restored for a week.
  version_destroy_ttl = "604800s"

  replication {
    auto {}
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_secret_manager_secret_iam_member" "accessors" {
  for_each = var.accessors

  project   = var.project_id
  secret_id = google_secret_manager_secret.secrets[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value.member
}

# Secrets of tenants are made by operators, one at a time, so the grant is the project's; the condition
# leaves those of the service itself out. IAM names a version projects/<number>/secrets/<name>/versions/<n>.
resource "google_project_iam_member" "prefix_accessors" {
  for_each = var.prefixes

  project = var.project_id
  role    = "roles/secretmanager.secretAccessor"
  member  = each.value.member

  condition {
    title       = "secrets ${each.value.prefix}*"
    description = "Values of secrets whose name begins with ${each.value.prefix}, and of no other."
    expression = join(" && ", [
      "resource.type == \"secretmanager.googleapis.com/SecretVersion\"",
      "resource.name.extract(\"/secrets/{name}/\").startsWith(\"${each.value.prefix}\")",
    ])
  }
}
