project_id  = "example-convergence-prod"
environment = "prod"
domains     = ["api.example.com"]
runbook_url = "https://github.com/example/convergence/blob/main/docs/runbook.md"

notification_emails = ["oncall@example.com"]
shift_traffic       = false

deployment_environment = {
  CORS_ORIGINS   = "[\"https://app.example.com\"]"
  OPERATOR_EMAIL = "oncall@example.com"
  SMTP_FROM      = "Convergence <no-reply@example.com>"
  SMTP_HOST      = "smtp.example.com"
  SMTP_USERNAME  = "convergence"

  OTEL_EXPORTER_OTLP_ENDPOINT = "https://telemetry.googleapis.com"
  OTEL_TRACES_EXPORTER        = "otlp"
}
