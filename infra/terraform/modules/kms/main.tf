# Keys that wrap the data keys of tenants' secrets. Losing one loses every credential that it wraps, so
# neither Terraform nor a hasty operator may destroy it: versions wait 30 days before they are gone.

resource "google_kms_key_ring" "ring" {
  project  = var.project_id
  location = var.location
  name     = var.key_ring

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key" "keys" {
  # checkov:skip=CKV_GCP_43: days come from the topology, which refuses more than 90
  for_each = var.keys

  key_ring                   = google_kms_key_ring.ring.id
  name                       = each.key
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "${each.value.rotation_days * 24 * 60 * 60}s"
  destroy_scheduled_duration = "2592000s"

  version_template {
    algorithm        = "GOOGLE_SYMMETRIC_ENCRYPTION"
    protection_level = "SOFTWARE"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "grants" {
  for_each = var.grants

  crypto_key_id = google_kms_crypto_key.keys[each.value.key].id
  role = {
    decrypt = "roles/cloudkms.cryptoKeyDecrypter"
    encrypt = "roles/cloudkms.cryptoKeyEncrypter"
  }[each.value.use]
  member = each.value.member
}
