output "bucket" {
  description = "Bucket of the bundles."
  value       = google_storage_bucket.bundles.name
}

output "repository" {
  description = "Resource name of the images' repository."
  value       = google_artifact_registry_repository.functions.id
}

output "service_account_id" {
  description = "Resource name of the builder, once it may build."
  value       = google_service_account.build.name
  depends_on = [
    google_artifact_registry_repository_iam_member.writes_images,
    google_project_iam_member.reads_sources,
    google_project_iam_member.writes_logs,
    google_storage_bucket_iam_member.reads_bundles,
  ]
}
