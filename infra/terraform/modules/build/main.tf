# Where functions are built: the archives, the images made of them, and the identity that makes them.

resource "google_storage_bucket" "bundles" {
  # checkov:skip=CKV_GCP_62: who reads and writes it is in the audit log; two identities may
  # checkov:skip=CKV_GCP_63: it does not log at all
  project  = var.project_id
  name     = "${var.project_id}-bundles"
  location = var.region

  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true
  force_destroy               = false

  versioning {
    enabled = true
  }

  # Images, not archives, are what a rollback runs.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 90
      with_state                 = "ARCHIVED"
    }
  }
}

resource "google_artifact_registry_repository" "functions" {
  # checkov:skip=CKV_GCP_84: images hold code and no data; Google's own encryption at rest is enough
  project       = var.project_id
  location      = var.region
  repository_id = "functions"
  description   = "Images that Cloud Build makes of the bundles."
  format        = "DOCKER"
}

resource "google_service_account" "build" {
  project      = var.project_id
  account_id   = "function-build"
  display_name = "Convergence function builds"
  description  = "Reads a bundle, writes its image and its log; nothing of the running service."
}

resource "google_storage_bucket_iam_member" "reads_bundles" {
  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}

# The Cloud Functions service copies each archive into a bucket of its own before it builds, and the
# build reads it there.
resource "google_project_iam_member" "reads_sources" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = google_service_account.build.member

  condition {
    title      = "sources of Cloud Functions only"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-\") || resource.name.startsWith(\"projects/_/buckets/gcf-v2-uploads-\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "writes_images" {
  project    = var.project_id
  location   = google_artifact_registry_repository.functions.location
  repository = google_artifact_registry_repository.functions.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

resource "google_project_iam_member" "writes_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}
