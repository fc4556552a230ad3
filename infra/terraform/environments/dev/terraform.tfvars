# One developer's playground: cheap, cold, and nobody is woken.
project_id  = "example-convergence-dev"
environment = "dev"
domains     = ["api.dev.example.com"]
runbook_url = "https://github.com/example/convergence/blob/main/docs/runbook.md"

keep_instances_warm    = false
max_instances          = 5
message_retention_days = 1

deployment_environment = {
  CORS_ORIGINS   = "[\"http://localhost:3000\"]"
  OPERATOR_EMAIL = "dev@example.com"
  SMTP_FROM      = "Convergence dev <no-reply@dev.example.com>"
  SMTP_HOST      = "smtp.example.com"
  SMTP_USERNAME  = "convergence-dev"

  OTEL_EXPORTER_OTLP_ENDPOINT = "https://telemetry.googleapis.com"
  OTEL_TRACES_EXPORTER        = "otlp"
}
