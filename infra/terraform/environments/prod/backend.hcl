# terraform init -backend-config=environments/prod/backend.hcl
bucket = "example-convergence-prod-terraform"
prefix = "convergence"
