variable "accessors" {
  description = "Who may read which secret's values."
  type = map(object({
    member = string
    secret = string
  }))
}

variable "project_id" {
  description = "Project of the secrets."
  type        = string
}

variable "secrets" {
  description = "Their names."
  type        = set(string)
}
