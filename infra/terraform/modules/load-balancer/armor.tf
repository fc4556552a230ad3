# Cloud Armor: a flood from one address is answered here and costs no instance. Limits per tenant are
# the API's own, which knows who asks. No preconfigured SQL injection rules: bodies of this API
# legitimately speak of tables and dates, and nothing of a request is ever spliced into SQL.

resource "google_compute_security_policy" "policy" {
  project     = var.project_id
  name        = "convergence"
  description = "Rate limit per address, known remote code exploits."
  type        = "CLOUD_ARMOR"

  adaptive_protection_config {
    layer_7_ddos_defense_config {
      enable = true
    }
  }

  rule {
    action      = "deny(403)"
    description = "Log4j and its kin (CVE-2021-44228 and others)"
    priority    = 100

    match {
      expr {
        expression = "evaluatePreconfiguredWaf('cve-canary')"
      }
    }
  }

  rule {
    action      = "throttle"
    description = "Requests of one address in a minute"
    priority    = 1000

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }

    rate_limit_options {
      conform_action = "allow"
      enforce_on_key = "IP"
      exceed_action  = "deny(429)"

      rate_limit_threshold {
        count        = var.requests_per_minute
        interval_sec = 60
      }
    }
  }

  rule {
    action      = "allow"
    description = "Everything else; never reached, and required"
    priority    = 2147483647

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }
  }
}
