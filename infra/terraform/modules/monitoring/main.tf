# Alerts, the counters made of logs, and the dashboard that shows both.

resource "google_monitoring_notification_channel" "emails" {
  for_each = var.notification_emails

  project      = var.project_id
  display_name = each.value
  type         = "email"
  labels       = { email_address = each.value }
}

resource "google_logging_metric" "metrics" {
  for_each = var.log_metrics

  project     = var.project_id
  name        = "convergence/${each.key}"
  description = each.value.description
  filter = join(" AND ", [
    "resource.type=\"cloud_run_revision\"",
    "jsonPayload.logger=\"convergence\"",
    "jsonPayload.message=\"${each.value.message}\"",
  ])

  label_extractors = merge(
    { function = "EXTRACT(resource.labels.service_name)" },
    { for label in each.value.labels : label => "EXTRACT(jsonPayload.${label})" },
  )

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    dynamic "labels" {
      for_each = setunion(["function"], each.value.labels)
      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }
}

resource "google_monitoring_alert_policy" "alerts" {
  for_each = var.alerts

  project               = var.project_id
  display_name          = "Convergence: ${replace(each.key, "_", " ")}"
  combiner              = "OR"
  notification_channels = local._channels
  severity              = each.value.severity

  conditions {
    display_name = each.value.summary

    condition_threshold {
      comparison         = "COMPARISON_GT"
      denominator_filter = local.conditions[each.key].denominator
      duration           = "${each.value.lasting_seconds}s"
      filter             = local.conditions[each.key].filter
      threshold_value    = each.value.threshold * local.conditions[each.key].scale

      aggregations {
        alignment_period     = "${each.value.window_seconds}s"
        cross_series_reducer = local.conditions[each.key].reducer
        group_by_fields      = local.conditions[each.key].group_by
        per_series_aligner   = local.conditions[each.key].aligner
      }

      dynamic "denominator_aggregations" {
        for_each = local.conditions[each.key].denominator[*]
        content {
          alignment_period     = "${each.value.window_seconds}s"
          cross_series_reducer = local.conditions[each.key].reducer
          group_by_fields      = local.conditions[each.key].group_by
          per_series_aligner   = local.conditions[each.key].aligner
        }
      }

      trigger {
        count = 1
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    content   = "${each.value.summary}\n\n[What to do](${var.runbook_url}#${replace(each.key, "_", "-")})"
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_dashboard" "dashboard" {
  project        = var.project_id
  dashboard_json = file("${path.module}/dashboard.json")

  # Tiles use the counters made of logs.
  depends_on = [google_logging_metric.metrics]
}

locals {
  _channels = concat(
    sort([for channel in google_monitoring_notification_channel.emails : channel.id]),
    sort(var.notification_channels),
  )
}
