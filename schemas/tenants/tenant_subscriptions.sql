-- Subscriptions as they are now: one row a tenant, with the limits of its plan.
SELECT *
FROM `{project}.{dataset}.tenant_subscriptions_log`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY tenant_id
  ORDER BY recorded_at DESC, sequence DESC
) = 1
