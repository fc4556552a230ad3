# terraform init -backend-config=environments/dev/backend.hcl
bucket = "example-convergence-dev-terraform"
prefix = "convergence"
