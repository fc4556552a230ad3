# One Cloud Run function with the archive it is built from and those who may call it.

resource "google_storage_bucket_object" "bundle" {
  bucket = var.bundles.bucket
  name   = var.bundles.files[0]
  source = "${var.bundles.directory}/${var.bundles.files[0]}"

  lifecycle {
    precondition {
      condition     = length(var.bundles.files) == 1
      error_message = "${var.bundles.directory} must hold exactly one bundle of ${var.name}, not ${length(var.bundles.files)}: empty it and run `make bundle`."
    }
    # The function is updated to its new bundle before the old one goes.
    create_before_destroy = true
  }
}

resource "google_cloudfunctions2_function" "function" {
  project     = var.project_id
  location    = var.region
  name        = var.name
  description = var.description

  build_config {
    docker_repository = var.build_repository
    entry_point       = var.entry_point
    runtime           = var.runtime
    service_account   = var.build_service_account

    # Security patches of the base image arrive with deployments, never between them.
    on_deploy_update_policy {}

    source {
      storage_source {
        bucket = google_storage_bucket_object.bundle.bucket
        object = google_storage_bucket_object.bundle.name
      }
    }
  }

  service_config {
    all_traffic_on_latest_revision   = var.shift_traffic
    available_cpu                    = var.resources.cpu
    available_memory                 = var.resources.memory
    environment_variables            = var.environment
    ingress_settings                 = var.ingress
    max_instance_count               = var.resources.max_instances
    max_instance_request_concurrency = var.resources.concurrency
    min_instance_count               = var.resources.min_instances
    service_account_email            = var.service_account_email
    timeout_seconds                  = var.resources.timeout_seconds
  }
}

# The function's service has its name; whoever may invoke the service may invoke the function.
resource "google_cloud_run_v2_service_iam_member" "invokers" {
  for_each = var.invokers

  project  = var.project_id
  location = var.region
  name     = google_cloudfunctions2_function.function.name
  role     = "roles/run.invoker"
  member   = each.value
}
