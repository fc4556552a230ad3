variable "project_id" {
  description = "Project of the topics."
  type        = string
}

variable "publishers" {
  description = "Who may publish to which topic."
  type = map(object({
    member = string
    topic  = string
  }))
}

variable "retention_days" {
  description = "How long a published message can be replayed."
  type        = number
}

variable "topics" {
  description = "Their names."
  type        = set(string)
}
