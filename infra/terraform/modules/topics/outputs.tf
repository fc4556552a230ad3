output "ids" {
  description = "Topic → its resource name."
  value       = { for name, topic in google_pubsub_topic.topics : name => topic.id }
}
