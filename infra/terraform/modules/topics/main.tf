# Topics, and who may publish to which.

resource "google_pubsub_topic" "topics" {
  # checkov:skip=CKV_GCP_83: secrets in messages are sealed under the tenants' key before they are sent
  for_each = var.topics

  project                    = var.project_id
  name                       = each.value
  message_retention_duration = "${var.retention_days * 24 * 60 * 60}s"
}

resource "google_pubsub_topic_iam_member" "publishers" {
  for_each = var.publishers

  project = var.project_id
  topic   = google_pubsub_topic.topics[each.value.topic].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}
