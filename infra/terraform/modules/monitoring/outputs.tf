output "dashboard_id" {
  description = "Resource name of the dashboard."
  value       = google_monitoring_dashboard.dashboard.id
}
