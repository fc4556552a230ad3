# The datasets that exist before any tenant does, and who may use them. Tables and views are made by
# `python -m infra.bootstrap` from schemas/, which upgrades them in place; Terraform would replace a
# table whose schema it cannot change. Datasets of tenants are made when they are onboarded.

resource "google_bigquery_dataset" "datasets" {
  # checkov:skip=CKV_GCP_81: secrets in it are sealed under the tenants' key before they are written
  # checkov:skip=CKV_GCP_15: access is given by the members below, never to the public
  for_each = var.datasets

  project     = var.project_id
  dataset_id  = each.key
  location    = var.location
  description = each.value.description
  labels      = each.value.labels

  delete_contents_on_destroy = false
  # Deleted rows can be read for the longest time that BigQuery offers.
  max_time_travel_hours = "168"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_bigquery_dataset_iam_member" "grants" {
  for_each = var.grants

  project    = var.project_id
  dataset_id = google_bigquery_dataset.datasets[each.value.dataset].dataset_id
  role       = each.value.role
  member     = each.value.member
}
