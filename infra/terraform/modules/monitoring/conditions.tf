# How each alert of the topology is measured. An alert without a condition here fails the plan.

locals {
  _services = "one_of(${join(", ", [for name in sort(var.public_functions) : "\"${name}\""])})"
  _requests = join(" AND ", [
    "metric.type = \"run.googleapis.com/request_count\"",
    "resource.type = \"cloud_run_revision\"",
    "resource.label.service_name = ${local._services}",
  ])

  conditions = {
    # Forwarded after the last attempt. The dead-letter function ends their runs.
    dead_letters = {
      filter = join(" AND ", [
        "metric.type = \"pubsub.googleapis.com/subscription/dead_letter_message_count\"",
        "resource.type = \"pubsub_subscription\"",
      ])
      aligner     = "ALIGN_SUM"
      reducer     = "REDUCE_SUM"
      group_by    = ["resource.label.subscription_id"]
      denominator = null
      scale       = 1
    }

    # Seconds. A message that is repeated for long, or functions that cannot keep up.
    unacknowledged_messages = {
      filter = join(" AND ", [
        "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"",
        "resource.type = \"pubsub_subscription\"",
        "resource.label.subscription_id = one_of(${join(", ", [for name in sort(var.subscriptions) : "\"${name}\""])})",
      ])
      aligner     = "ALIGN_MAX"
      reducer     = "REDUCE_MAX"
      group_by    = ["resource.label.subscription_id"]
      denominator = null
      scale       = 1
    }

    # Share of the answers. Only functions that people call: a worker's 5xx asks for another delivery.
    server_errors = {
      filter      = "${local._requests} AND metric.label.response_code_class = \"5xx\""
      aligner     = "ALIGN_RATE"
      reducer     = "REDUCE_SUM"
      group_by    = ["resource.label.service_name"]
      denominator = local._requests
      scale       = 1
    }

    # Milliseconds.
    latency = {
      filter = join(" AND ", [
        "metric.type = \"run.googleapis.com/request_latencies\"",
        "resource.type = \"cloud_run_revision\"",
        "resource.label.service_name = ${local._services}",
      ])
      aligner     = "ALIGN_PERCENTILE_95"
      reducer     = "REDUCE_MAX"
      group_by    = ["resource.label.service_name"]
      denominator = null
      scale       = 1
    }

    # Times that Google refused a call because a quota was used up.
    quota = {
      filter = join(" AND ", [
        "metric.type = \"serviceruntime.googleapis.com/quota/exceeded\"",
        "resource.type = \"consumer_quota\"",
      ])
      aligner     = "ALIGN_COUNT_TRUE"
      reducer     = "REDUCE_SUM"
      group_by    = ["resource.label.service", "metric.label.quota_metric"]
      denominator = null
      scale       = 1
    }

    # US dollars of BigQuery's queries, the part that grows with tenants. The metric is in bytes and up to
    # six hours late.
    cost = {
      filter = join(" AND ", [
        "metric.type = \"bigquery.googleapis.com/query/scanned_bytes_billed\"",
        "resource.type = \"global\"",
      ])
      aligner     = "ALIGN_SUM"
      reducer     = "REDUCE_SUM"
      group_by    = []
      denominator = null
      scale       = pow(1024, 4) / var.usd_per_tib
    }
  }
}
