variable "project_id" {
  description = "Project of bucket, repository and builder."
  type        = string
}

variable "region" {
  description = "Region of bucket and repository: that of the functions."
  type        = string
}
