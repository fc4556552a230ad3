output "ids" {
  description = "Dataset → its resource name."
  value       = { for name, dataset in google_bigquery_dataset.datasets : name => dataset.id }
}
