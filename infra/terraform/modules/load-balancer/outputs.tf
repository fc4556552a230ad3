output "address" {
  description = "IPv4 address of the load balancer."
  value       = google_compute_global_address.address.address
}
