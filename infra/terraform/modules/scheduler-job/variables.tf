variable "audience" {
  description = "The tokens' audience, which the function compares."
  type        = string
}

variable "deadline_seconds" {
  description = "How long an attempt may take."
  type        = number
}

variable "description" {
  description = "What the job does."
  type        = string
}

variable "method" {
  description = "HTTP method."
  type        = string
}

variable "name" {
  description = "Name of the job."
  type        = string
}

variable "paused" {
  description = "Whether it waits to be resumed."
  type        = bool
}

variable "project_id" {
  description = "Project of the job."
  type        = string
}

variable "region" {
  description = "Region of the job."
  type        = string
}

variable "retry" {
  description = "How an attempt that failed is followed by others."
  type = object({
    count                   = optional(number, 0)
    maximum_backoff_seconds = optional(number, 3600)
    maximum_doublings       = optional(number, 5)
    minimum_backoff_seconds = optional(number, 5)
  })
}

variable "schedule" {
  description = "Five-field cron expression."
  type        = string
}

variable "service_account_email" {
  description = "The identity of the calls."
  type        = string
}

variable "time_zone" {
  description = "IANA time zone of the schedule."
  type        = string
}

variable "uri" {
  description = "URL that is called."
  type        = string
}
