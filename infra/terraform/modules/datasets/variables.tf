variable "datasets" {
  description = "Name → what it is for."
  type = map(object({
    description = string
    labels      = map(string)
  }))
}

variable "grants" {
  description = "Who has which role on which dataset."
  type = map(object({
    dataset = string
    member  = string
    role    = string
  }))
}

variable "location" {
  description = "Location of the datasets."
  type        = string
}

variable "project_id" {
  description = "Project of the datasets."
  type        = string
}
