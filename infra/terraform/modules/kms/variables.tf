variable "grants" {
  description = "Who may use which key for what: encrypt or decrypt."
  type = map(object({
    key    = string
    member = string
    use    = string
  }))
  validation {
    condition     = alltrue([for grant in values(var.grants) : contains(["encrypt", "decrypt"], grant.use)])
    error_message = "A grant's use is encrypt or decrypt."
  }
}

variable "key_ring" {
  description = "Name of the key ring."
  type        = string
}

variable "keys" {
  description = "Name → days between rotations. Old versions stay, to decrypt."
  type        = map(object({ rotation_days = number }))
}

variable "location" {
  description = "Location of the key ring."
  type        = string
}

variable "project_id" {
  description = "Project of the keys."
  type        = string
}
