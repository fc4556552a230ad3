output "bundle" {
  description = "Name of the archive that it runs."
  value       = google_storage_bucket_object.bundle.name
}

output "uri" {
  description = "The service's URL, once those who call it may."
  value       = google_cloudfunctions2_function.function.service_config[0].uri
  depends_on  = [google_cloud_run_v2_service_iam_member.invokers]
}
