# The one way in from the internet: an address, a certificate, the routes, Cloud Armor before each
# function.

resource "google_compute_global_address" "address" {
  project = var.project_id
  name    = "convergence"
}

resource "google_compute_managed_ssl_certificate" "certificate" {
  project = var.project_id
  # A certificate cannot change its domains: another set is another certificate.
  name = "convergence-${substr(sha256(join(",", sort(var.domains))), 0, 8)}"

  managed {
    domains = var.domains
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "modern" {
  project         = var.project_id
  name            = "convergence"
  min_tls_version = "TLS_1_2"
  profile         = "MODERN"
}

resource "google_compute_region_network_endpoint_group" "functions" {
  for_each = var.functions

  project               = var.project_id
  region                = var.region
  name                  = each.value
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = each.value
  }
}

resource "google_compute_backend_service" "functions" {
  for_each = var.functions

  project               = var.project_id
  name                  = each.value
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.policy.id

  backend {
    group = google_compute_region_network_endpoint_group.functions[each.value].id
  }

  log_config {
    enable      = true
    sample_rate = 1
  }
}

resource "google_compute_url_map" "routes" {
  project         = var.project_id
  name            = "convergence"
  default_service = google_compute_backend_service.functions[local.default_function].id

  host_rule {
    hosts        = ["*"]
    path_matcher = "topology"
  }

  path_matcher {
    name            = "topology"
    default_service = google_compute_backend_service.functions[local.default_function].id

    dynamic "route_rules" {
      for_each = local.rules
      content {
        priority = route_rules.value.priority
        service  = google_compute_backend_service.functions[route_rules.value.function].id

        dynamic "match_rules" {
          for_each = route_rules.value.matches
          content {
            full_path_match     = match_rules.value.full
            path_template_match = match_rules.value.template
            prefix_match        = match_rules.value.prefix

            dynamic "header_matches" {
              for_each = compact([match_rules.value.method])
              content {
                header_name = ":method"
                exact_match = header_matches.value
              }
            }
          }
        }
      }
    }
  }
}

resource "google_compute_target_https_proxy" "https" {
  project          = var.project_id
  name             = "convergence"
  ssl_certificates = [google_compute_managed_ssl_certificate.certificate.id]
  ssl_policy       = google_compute_ssl_policy.modern.id
  url_map          = google_compute_url_map.routes.id
}

resource "google_compute_global_forwarding_rule" "https" {
  project               = var.project_id
  name                  = "convergence-https"
  ip_address            = google_compute_global_address.address.id
  load_balancing_scheme = "EXTERNAL_MANAGED"
  port_range            = "443"
  target                = google_compute_target_https_proxy.https.id
}
