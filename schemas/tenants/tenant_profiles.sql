-- Tenants as they are now: one row a tenant.
SELECT *
FROM `{project}.{dataset}.tenant_profiles_log`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY tenant_id
  ORDER BY recorded_at DESC, sequence DESC
) = 1
