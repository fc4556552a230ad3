variable "accessors" {
  description = "Who may read which secret's values."
  type = map(object({
    member = string
    secret = string
  }))
}

variable "prefixes" {
  description = "Who may read the values of every secret whose name begins so, those that are made later too."
  type = map(object({
    member = string
    prefix = string
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
