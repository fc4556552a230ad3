# The services that the product stands on, and who read or changed keys and secrets.

locals {
  _services = toset([
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtrace.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
    "telemetry.googleapis.com",
  ])

  # Reads of data are logged only where somebody asks for it. KMS and Secret Manager are read rarely
  # (data keys and values are remembered), and every read matters.
  _audited = toset(["cloudkms.googleapis.com", "secretmanager.googleapis.com"])
}

resource "google_project_service" "services" {
  for_each = local._services

  project = var.project_id
  service = each.value

  # Another application of the project may use it.
  disable_on_destroy = false
}

resource "google_project_iam_audit_config" "data_access" {
  for_each = local._audited

  project = var.project_id
  service = each.value

  audit_log_config {
    log_type = "DATA_READ"
  }
  audit_log_config {
    log_type = "DATA_WRITE"
  }

  depends_on = [google_project_service.services]
}
