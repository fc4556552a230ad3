variable "ack_deadline_seconds" {
  description = "How long a delivery may take."
  type        = number
}

variable "dead_letter" {
  description = "Where a message goes after how many attempts; null to try until it expires."
  type = object({
    max_delivery_attempts = number
    topic                 = string
  })
  default = null
}

variable "enable_message_ordering" {
  description = "One message of an ordering key at a time."
  type        = bool
}

variable "filter" {
  description = "Which messages, by their attributes; empty for all. It cannot be changed later."
  type        = string
}

variable "name" {
  description = "Name of the subscription."
  type        = string
}

variable "project_id" {
  description = "Project of the subscription."
  type        = string
}

variable "pubsub_agent" {
  description = "Pub/Sub's own identity in the project, as an IAM member."
  type        = string
}

variable "push_endpoint" {
  description = "URL of the function; the audience of the tokens too."
  type        = string
}

variable "push_service_account_email" {
  description = "The identity of the deliveries."
  type        = string
}

variable "retention_days" {
  description = "How long a message is kept that nobody acknowledges."
  type        = number
}

variable "retry" {
  description = "Between which delays attempts are repeated."
  type = object({
    maximum_backoff_seconds = number
    minimum_backoff_seconds = number
  })
}

variable "topic" {
  description = "Resource name of the topic."
  type        = string
}
