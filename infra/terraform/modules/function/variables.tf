variable "build_repository" {
  description = "Artifact Registry repository of the image."
  type        = string
}

variable "build_service_account" {
  description = "Resource name of the identity that builds."
  type        = string
}

variable "bundles" {
  description = "Bucket, local folder, and the names of the archives of this function found there: one is right."
  type = object({
    bucket    = string
    directory = string
    files     = list(string)
  })
}

variable "description" {
  description = "What the function does."
  type        = string
}

variable "entry_point" {
  description = "The function's name in the bundle's main.py."
  type        = string
}

variable "environment" {
  description = "Environment variables; no secrets."
  type        = map(string)
}

variable "ingress" {
  description = "ALLOW_INTERNAL_ONLY: Pub/Sub and Cloud Scheduler of the project. ALLOW_INTERNAL_AND_GCLB: the load balancer too."
  type        = string
  validation {
    condition     = contains(["ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"], var.ingress)
    error_message = "No function is open to the internet but through the load balancer."
  }
}

variable "invokers" {
  description = "Who may call it, as IAM members."
  type        = map(string)
}

variable "name" {
  description = "Name of the function and its service."
  type        = string
}

variable "project_id" {
  description = "Project of the function."
  type        = string
}

variable "region" {
  description = "Region of the function."
  type        = string
}

variable "resources" {
  description = "What an instance has, and how many there are."
  type = object({
    concurrency     = number
    cpu             = string
    max_instances   = number
    memory          = string
    min_instances   = number
    timeout_seconds = number
  })
  validation {
    condition     = var.resources.min_instances <= var.resources.max_instances
    error_message = "More instances are kept warm than there may be: raise max_instances or set keep_instances_warm to false."
  }
}

variable "runtime" {
  description = "Language runtime, such as python311."
  type        = string
}

variable "service_account_email" {
  description = "The identity it runs as."
  type        = string
}

variable "shift_traffic" {
  description = "Whether a new revision gets all traffic at once."
  type        = bool
}
