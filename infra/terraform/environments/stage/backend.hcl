# terraform init -backend-config=environments/stage/backend.hcl
bucket = "example-convergence-stage-terraform"
prefix = "convergence"
