variable "domains" {
  description = "Host names of the certificate."
  type        = list(string)
}

variable "functions" {
  description = "The functions that routes name."
  type        = set(string)
}

variable "project_id" {
  description = "Project of the load balancer."
  type        = string
}

variable "region" {
  description = "Region of the functions."
  type        = string
}

variable "requests_per_minute" {
  description = "More requests of one address are answered with 429."
  type        = number
}

variable "routes" {
  description = "Path patterns, some with methods, and the function that answers each."
  type = list(object({
    function = string
    methods  = optional(list(string), [])
    path     = string
  }))
}
