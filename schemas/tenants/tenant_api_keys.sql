-- API keys as they are now: one row a key. is_active is false for revoked and expired keys;
-- a revocation is final, whatever is recorded after it. Rows with last_used_at only mark a use: they
-- are no state of the key, so a late mark never undoes what was recorded meanwhile.
SELECT
  * EXCEPT (preference, latest_use)
  REPLACE (
    latest_use AS last_used_at,
    is_active AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > CURRENT_TIMESTAMP()) AS is_active
  )
FROM (
  SELECT
    *,
    MAX(last_used_at) OVER (PARTITION BY tenant_id, api_key_id, key_hash) AS latest_use,
    ROW_NUMBER() OVER (
      PARTITION BY tenant_id, api_key_id, key_hash
      ORDER BY
        IF(last_used_at IS NULL, 1, 0) DESC,
        IF(revoked_at IS NULL, 0, 1) DESC,
        recorded_at DESC,
        sequence DESC
    ) AS preference
  FROM `{project}.{dataset}.tenant_api_keys_log`
)
WHERE preference = 1
