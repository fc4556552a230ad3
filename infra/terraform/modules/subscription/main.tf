# A push subscription: a message to one function, as one identity, again until it is acknowledged, and
# into the dead-letter topic after the last attempt.

resource "google_pubsub_subscription" "subscription" {
  project = var.project_id
  name    = var.name
  topic   = var.topic

  ack_deadline_seconds       = var.ack_deadline_seconds
  enable_message_ordering    = var.enable_message_ordering
  filter                     = var.filter
  message_retention_duration = "${var.retention_days * 24 * 60 * 60}s"

  # Without messages for 31 days, it would be gone by default.
  expiration_policy {
    ttl = ""
  }

  push_config {
    push_endpoint = var.push_endpoint

    oidc_token {
      audience              = var.push_endpoint
      service_account_email = var.push_service_account_email
    }
  }

  retry_policy {
    maximum_backoff = "${var.retry.maximum_backoff_seconds}s"
    minimum_backoff = "${var.retry.minimum_backoff_seconds}s"
  }

  dynamic "dead_letter_policy" {
    for_each = var.dead_letter[*]
    content {
      dead_letter_topic     = dead_letter_policy.value.topic
      max_delivery_attempts = dead_letter_policy.value.max_delivery_attempts
    }
  }
}

# Who forwards dead letters must take them out of here; the topic grants the other half.
resource "google_pubsub_subscription_iam_member" "acknowledges" {
  count = var.dead_letter == null ? 0 : 1

  project      = var.project_id
  subscription = google_pubsub_subscription.subscription.name
  role         = "roles/pubsub.subscriber"
  member       = var.pubsub_agent
}
