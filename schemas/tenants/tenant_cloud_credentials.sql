-- Provider credentials as they are now: one row a credential. Deleted ones are not shown, and
-- neither are queued requests that have not stored one.
SELECT *
FROM (
  SELECT *
  FROM `{project}.{dataset}.tenant_cloud_credentials_log`
  WHERE IFNULL(request_status, 'COMPLETED') = 'COMPLETED'
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY tenant_id, credential_id
    ORDER BY IF(deleted_at IS NULL, 0, 1) DESC, recorded_at DESC, sequence DESC
  ) = 1
)
WHERE deleted_at IS NULL
