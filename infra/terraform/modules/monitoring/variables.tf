variable "alerts" {
  description = "Alert → above which value, measured over which window, for how long it must last."
  type = map(object({
    lasting_seconds = optional(number, 0)
    severity        = string
    summary         = string
    threshold       = number
    window_seconds  = number
  }))
}

variable "log_metrics" {
  description = "Counters of log entries with a message, by some of their fields."
  type = map(object({
    description = string
    labels      = optional(set(string), [])
    message     = string
  }))
}

variable "notification_channels" {
  description = "Channels made elsewhere that alerts go to."
  type        = set(string)
}

variable "notification_emails" {
  description = "Mail addresses that alerts go to."
  type        = set(string)
}

variable "project_id" {
  description = "Project of the metrics and alerts."
  type        = string
}

variable "public_functions" {
  description = "Functions that people call, whose errors and latencies are watched."
  type        = set(string)
}

variable "runbook_url" {
  description = "Page with one section per alert."
  type        = string
}

variable "subscriptions" {
  description = "Subscriptions whose backlog is watched."
  type        = set(string)
}

variable "usd_per_tib" {
  description = "Price of a TiB that BigQuery's queries scan, on demand."
  type        = number
}
