module "apis" {
  source     = "./modules/apis"
  project_id = var.project_id
}

module "service_accounts" {
  source       = "./modules/service-accounts"
  project_id   = var.project_id
  custom_roles = local.topology.custom_roles
  service_accounts = {
    for name, account in local.topology.service_accounts : name => {
      description = account.description
      roles       = account.roles
    }
  }
  depends_on = [module.apis]
}

module "kms" {
  source     = "./modules/kms"
  project_id = var.project_id
  location   = local.topology.kms.location
  key_ring   = local.topology.kms.key_ring
  keys = {
    for name, key in local.topology.kms.keys : name => { rotation_days = key.rotation_days }
  }
  # One grant a function, key and direction.
  grants = merge([
    for name, function in local.topology.functions : {
      for pair in setproduct(distinct(values(try(function.keys, {}))), try(function.key_use, [])) :
      "${name}/${pair[0]}/${pair[1]}" => {
        key    = pair[0]
        member = module.service_accounts.members[function.service_account]
        use    = pair[1]
      }
    }
  ]...)
  depends_on = [module.apis]
}

module "secrets" {
  source     = "./modules/secrets"
  project_id = var.project_id
  secrets    = toset(keys(local.topology.secrets))
  accessors = merge([
    for name, function in local.topology.functions : {
      for secret in distinct(values(try(function.secrets, {}))) : "${name}/${secret}" => {
        member = module.service_accounts.members[function.service_account]
        secret = secret
      }
    }
  ]...)
  prefixes = merge([
    for name, function in local.topology.functions : {
      for prefix in try(function.secret_prefixes, []) : "${name}/${prefix}" => {
        member = module.service_accounts.members[function.service_account]
        prefix = prefix
      }
    }
  ]...)
  depends_on = [module.apis]
}

module "datasets" {
  source     = "./modules/datasets"
  project_id = var.project_id
  location   = local.topology.bigquery_location
  datasets   = local.topology.datasets
  grants = merge(flatten([
    for name, account in local.topology.service_accounts : [
      for dataset, roles in try(account.datasets, {}) : {
        for role in roles : "${name}/${dataset}/${role}" => {
          dataset = dataset
          member  = module.service_accounts.members[name]
          role    = module.service_accounts.role_ids[role]
        }
      }
    ]
  ])...)
  depends_on = [module.apis]
}

module "topics" {
  source     = "./modules/topics"
  project_id = var.project_id
  topics     = toset(local.topology.topics)
  publishers = merge(concat(
    [
      for name, function in local.topology.functions : {
        for topic in try(function.publishes, []) : "${name}/${topic}" => {
          member = module.service_accounts.members[function.service_account]
          topic  = topic
        }
      }
    ],
    # Who forwards dead letters. Without this, and its right to acknowledge them (modules/subscription),
    # Pub/Sub counts no attempts and delivers a poisonous message for ever.
    [{
      for topic in local.dead_letter_topics : "pubsub/${topic}" => {
        member = local.pubsub_agent
        topic  = topic
      }
    }],
  )...)
  retention_days = var.message_retention_days
  depends_on     = [module.apis]
}

module "build" {
  source     = "./modules/build"
  project_id = var.project_id
  region     = var.region
  depends_on = [module.apis]
}

module "functions" {
  source   = "./modules/function"
  for_each = local.topology.functions

  project_id  = var.project_id
  region      = var.region
  name        = each.key
  description = each.value.description

  bundles = {
    bucket    = module.build.bucket
    directory = var.bundle_directory
    files     = local.bundles[each.key]
  }
  build_repository      = module.build.repository
  build_service_account = module.build.service_account_id
  entry_point           = each.value.entry_point
  environment           = local.environment[each.key]
  ingress               = contains(local.routed_functions, each.key) ? "ALLOW_INTERNAL_AND_GCLB" : "ALLOW_INTERNAL_ONLY"
  invokers = merge(
    {
      for use, accounts in local.invokers[each.key] :
      use => module.service_accounts.members[accounts[0]]
    },
    contains(local.routed_functions, each.key) ? { for member in var.api_invokers : member => member } : {},
  )
  runtime               = local.topology.runtime
  service_account_email = module.service_accounts.emails[each.value.service_account]
  shift_traffic         = var.shift_traffic

  resources = {
    concurrency     = each.value.concurrency
    cpu             = each.value.cpu
    max_instances   = min(each.value.max_instances, var.max_instances)
    memory          = each.value.memory
    min_instances   = var.keep_instances_warm ? each.value.min_instances : 0
    timeout_seconds = each.value.timeout_seconds
  }

  # A first revision that may not read its key or secret yet would fail its start.
  depends_on = [module.datasets, module.kms, module.secrets, module.service_accounts]
}

module "subscriptions" {
  source   = "./modules/subscription"
  for_each = local.topology.subscriptions

  project_id                 = var.project_id
  name                       = each.key
  topic                      = module.topics.ids[each.value.topic]
  push_endpoint              = module.functions[each.value.function].uri
  push_service_account_email = module.service_accounts.emails[local.topology.push_service_account]
  pubsub_agent               = local.pubsub_agent

  ack_deadline_seconds    = each.value.ack_deadline_seconds
  enable_message_ordering = try(each.value.enable_message_ordering, false)
  filter                  = try(each.value.filter, "")
  retention_days          = var.message_retention_days
  retry = {
    maximum_backoff_seconds = each.value.maximum_backoff_seconds
    minimum_backoff_seconds = each.value.minimum_backoff_seconds
  }
  dead_letter = try(each.value.dead_letter_topic, null) == null ? null : {
    max_delivery_attempts = try(each.value.max_delivery_attempts, 5)
    topic                 = module.topics.ids[each.value.dead_letter_topic]
  }

  depends_on = [google_service_account_iam_member.push_tokens, module.topics]
}

# Pub/Sub signs the tokens of its deliveries as the push account.
resource "google_service_account_iam_member" "push_tokens" {
  service_account_id = module.service_accounts.ids[local.topology.push_service_account]
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

module "scheduler_jobs" {
  source   = "./modules/scheduler-job"
  for_each = local.topology.scheduler_jobs

  project_id            = var.project_id
  region                = var.region
  name                  = each.key
  description           = each.value.description
  schedule              = each.value.schedule
  time_zone             = try(each.value.time_zone, "Etc/UTC")
  uri                   = "${module.functions[each.value.function].uri}${each.value.path}"
  method                = try(each.value.method, "POST")
  audience              = each.value.audience
  service_account_email = module.service_accounts.emails[each.value.service_account]
  deadline_seconds      = try(each.value.attempt_deadline_seconds, 180)
  retry                 = try(each.value.retry, {})
  paused                = var.pause_scheduler_jobs
}

module "load_balancer" {
  source = "./modules/load-balancer"

  project_id          = var.project_id
  region              = var.region
  domains             = var.domains
  functions           = toset(local.routed_functions)
  routes              = local.topology.routes
  requests_per_minute = var.requests_per_ip_per_minute

  depends_on = [module.functions]
}

module "monitoring" {
  source = "./modules/monitoring"

  project_id            = var.project_id
  alerts                = local.topology.alerts
  log_metrics           = local.topology.log_metrics
  notification_emails   = var.notification_emails
  notification_channels = var.notification_channels
  public_functions      = local.routed_functions
  runbook_url           = var.runbook_url
  subscriptions         = toset(keys(local.topology.subscriptions))
  usd_per_tib           = var.bigquery_usd_per_tib

  depends_on = [module.apis]
}
