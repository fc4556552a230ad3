variable "custom_roles" {
  description = "Name → a role of exactly these permissions."
  type = map(object({
    description = string
    permissions = set(string)
  }))
  default = {}
}

variable "project_id" {
  description = "Project of the accounts and their roles."
  type        = string
}

variable "service_accounts" {
  description = "Account ID → its roles in the project: predefined ones, or names of custom_roles."
  type = map(object({
    description = string
    roles       = set(string)
  }))
}
