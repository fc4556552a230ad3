# What is deployed stands in infra/topology.yaml, which the local cloud reads too; here it is only put
# into Google Cloud's words. What stands under a `local:` key is never looked at.

data "google_project" "project" {
  project_id = var.project_id
}

locals {
  topology = yamldecode(file("${path.module}/../topology.yaml"))

  # Google's own identity that delivers messages and forwards dead letters.
  pubsub_agent = "serviceAccount:service-${data.google_project.project.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  _bundles = fileset(var.bundle_directory, "*.zip")

  # A bundle is named <folder>-<hash>.zip: its name changes exactly when its contents do.
  bundles = {
    for name, function in local.topology.functions : name => [
      for bundle in local._bundles : bundle
      if length(regexall("^${split(".", function.source)[1]}-[0-9a-f]{12}\\.zip$", bundle)) > 0
    ]
  }

  dead_letter_topics = toset(compact([
    for subscription in values(local.topology.subscriptions) : try(subscription.dead_letter_topic, null)
  ]))

  # The functions behind the load balancer: those that a route names.
  routed_functions = toset([for route in local.topology.routes : route.function])

  # Everything that a function may be called by, beside the load balancer.
  invokers = {
    for name, function in local.topology.functions : name => merge(
      {
        for subscription in values(local.topology.subscriptions) : "push" =>
        local.topology.push_service_account... if subscription.function == name
      },
      {
        for job in values(local.topology.scheduler_jobs) : "scheduler-${job.service_account}" =>
        job.service_account... if job.function == name
      },
    )
  }

  # As Topology.function_environment of infra/topology.py gives it; a test compares the two.
  environment = {
    for name, function in local.topology.functions : name => merge(
      {
        BIGQUERY_LOCATION = local.topology.bigquery_location
        GCP_PROJECT_ID    = var.project_id
      },
      local.topology.environment,
      try(function.environment, {}),
      { for variable, key in try(function.keys, {}) : variable => module.kms.key_ids[key] },
      {
        for variable, secret in try(function.secrets, {}) :
        variable => "projects/${var.project_id}/secrets/${module.secrets.names[secret]}/versions/latest"
      },
      {
        for variable, account in try(function.service_accounts, {}) :
        variable => module.service_accounts.emails[account]
      },
      {
        for variable in concat(local.topology.deployment_environment, try(function.deployment_environment, [])) :
        variable => var.deployment_environment[variable]
        if contains(keys(var.deployment_environment), variable)
      },
      # The functions framework serves as many requests at once as it has threads.
      { THREADS = tostring(function.concurrency) },
    )
  }
}
