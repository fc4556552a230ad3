# An HTTP job of Cloud Scheduler, which signs its calls as one identity.

resource "google_cloud_scheduler_job" "job" {
  project     = var.project_id
  region      = var.region
  name        = var.name
  description = var.description

  attempt_deadline = "${var.deadline_seconds}s"
  paused           = var.paused
  schedule         = var.schedule
  time_zone        = var.time_zone

  http_target {
    http_method = var.method
    uri         = var.uri

    oidc_token {
      audience              = var.audience
      service_account_email = var.service_account_email
    }
  }

  retry_config {
    max_backoff_duration = "${var.retry.maximum_backoff_seconds}s"
    max_doublings        = var.retry.maximum_doublings
    min_backoff_duration = "${var.retry.minimum_backoff_seconds}s"
    retry_count          = var.retry.count
  }
}
