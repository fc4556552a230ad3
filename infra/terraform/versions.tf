terraform {
  # Since 1.9 a variable's validation may look at other values; the exact version is in .terraform-version.
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  # Partial: bucket and prefix come from environments/<name>/backend.hcl.
  backend "gcs" {}
}

provider "google" {
  project = var.project_id
  region  = var.region

  # A label that bootstrap.py does not know would be reported as drift.
  add_terraform_attribution_label = false

  default_labels = {
    environment = var.environment
    managed_by  = "convergence"
  }
}
