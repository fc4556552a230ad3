variable "project_id" {
  description = "Project that everything is created in."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project ID has 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "environment" {
  description = "Which of the environments this is; a label on everything."
  type        = string
  validation {
    condition     = contains(["dev", "stage", "prod"], var.environment)
    error_message = "Write dev, stage or prod."
  }
}

variable "region" {
  description = "Region of the functions, scheduler jobs and bundles; near the BigQuery location of the topology."
  type        = string
  default     = "us-central1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Write a region such as us-central1."
  }
}

variable "domains" {
  description = "Host names of the API. Their A records must point at the output load_balancer_address before the certificate becomes active."
  type        = list(string)
  validation {
    condition     = length(var.domains) > 0 && length(var.domains) <= 100 && alltrue([for domain in var.domains : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", domain))])
    error_message = "Write 1 to 100 lower-case host names such as api.example.com, without a wildcard or a final dot."
  }
}

variable "bundle_directory" {
  description = "Folder with the zips that `python -m infra.bundle --out` wrote."
  type        = string
  default     = "../../dist"
}

variable "deployment_environment" {
  description = "Values of the variables that the topology lists as deployment_environment; each function gets those it lists."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name in keys(var.deployment_environment) : can(regex("^[A-Z][A-Z0-9_]*$", name))])
    error_message = "Names of environment variables have capital letters, digits and underscores."
  }
  validation {
    condition     = length(setintersection(keys(var.deployment_environment), ["DISABLE_AUTH", "ADMIN_API_KEY", "SMTP_PASSWORD"])) == 0
    error_message = "DISABLE_AUTH is refused on Cloud Run, and secrets belong into Secret Manager: remove them here."
  }
  validation {
    condition     = contains(keys(var.deployment_environment), "SMTP_HOST")
    error_message = "Write SMTP_HOST: the function that sends mail does not start without it."
  }
  validation {
    condition     = !contains(values({ for name, value in var.deployment_environment : name => value if startswith(name, "OTEL_") }), "otlp") || contains(keys(var.deployment_environment), "OTEL_EXPORTER_OTLP_ENDPOINT")
    error_message = "Write OTEL_EXPORTER_OTLP_ENDPOINT: with an exporter, functions do not start without it."
  }
}

variable "api_invokers" {
  description = "Who may call the routed functions through the load balancer, as IAM members. They ask every caller for a key themselves. Where the organization forbids allUsers (iam.allowedPolicyMemberDomains), name its own callers; docs/deploy.md says what the scheduler needs then."
  type        = set(string)
  default     = ["allUsers"]
  validation {
    condition     = alltrue([for member in var.api_invokers : can(regex("^(allUsers|allAuthenticatedUsers|(user|group|serviceAccount|domain|principalSet|principal):.+)$", member))])
    error_message = "Write IAM members such as allUsers, group:apps@example.com or serviceAccount:web@project.iam.gserviceaccount.com."
  }
}

variable "keep_instances_warm" {
  description = "Keep the topology's min_instances running; false lets everything scale to zero and pays with cold starts."
  type        = bool
  default     = true
}

variable "max_instances" {
  description = "No function scales beyond this, whatever the topology says: a ceiling on costs for small environments."
  type        = number
  default     = 100
  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000 && floor(var.max_instances) == var.max_instances
    error_message = "Write a whole number from 1 to 1000."
  }
}

variable "shift_traffic" {
  description = "Whether a new revision gets all traffic at once. False leaves traffic where it is pinned: see docs/deploy.md, Canary."
  type        = bool
  default     = true
}

variable "pause_scheduler_jobs" {
  description = "Create the scheduler jobs paused; for a restore or a move."
  type        = bool
  default     = false
}

variable "message_retention_days" {
  description = "How long topics and subscriptions keep messages that nobody acknowledged."
  type        = number
  default     = 7
  validation {
    condition     = var.message_retention_days >= 1 && var.message_retention_days <= 31
    error_message = "Pub/Sub keeps messages for up to 31 days."
  }
}

variable "requests_per_ip_per_minute" {
  description = "Cloud Armor answers 429 to more requests of one address in a minute. The API's own limits per tenant are stricter."
  type        = number
  default     = 1200
  validation {
    condition     = var.requests_per_ip_per_minute >= 1 && var.requests_per_ip_per_minute <= 1000000
    error_message = "Write a number from 1 to 1000000."
  }
}

variable "notification_emails" {
  description = "Who is mailed when an alert opens or closes."
  type        = set(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.notification_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+\\.[^@[:space:]]+$", address))])
    error_message = "Write mail addresses."
  }
}

variable "notification_channels" {
  description = "More channels (PagerDuty, Slack), made elsewhere: projects/*/notificationChannels/*."
  type        = set(string)
  default     = []
  validation {
    condition     = alltrue([for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "Write names such as projects/my-project/notificationChannels/123."
  }
}

variable "runbook_url" {
  description = "Where operators read docs/runbook.md; every alert links its section."
  type        = string
  validation {
    condition     = can(regex("^https://[^#[:space:]]+$", var.runbook_url))
    error_message = "Write an https URL without a fragment."
  }
}

variable "bigquery_usd_per_tib" {
  description = "Price of a TiB that queries scan, on demand, in the topology's BigQuery location; turns the alert's dollars into bytes. 6.25 in US and EU, as published in 2025."
  type        = number
  default     = 6.25
  validation {
    condition     = var.bigquery_usd_per_tib > 0
    error_message = "Write a price above zero."
  }
}
