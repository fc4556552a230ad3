# As prod, at a smaller size: what passes here is what prod gets.
project_id  = "example-convergence-stage"
environment = "stage"
domains     = ["api.stage.example.com"]
runbook_url = "https://github.com/example/convergence/blob/main/docs/runbook.md"

keep_instances_warm = false
max_instances       = 20
notification_emails = ["oncall@example.com"]
shift_traffic       = false

deployment_environment = {
  CORS_ORIGINS   = "[\"https://app.stage.example.com\"]"
  OPERATOR_EMAIL = "oncall@example.com"
  SMTP_FROM      = "Convergence stage <no-reply@stage.example.com>"
  SMTP_HOST      = "smtp.example.com"
  SMTP_USERNAME  = "convergence-stage"

  OTEL_EXPORTER_OTLP_ENDPOINT = "https://telemetry.googleapis.com"
  OTEL_TRACES_EXPORTER        = "otlp"
}
