-- Schedules as they are now: one row a schedule, the newest revision of its definition with the
-- furthest next_run_time that was computed for that revision. Deleted ones are not shown.
SELECT
  tenant_id,
  config_id,
  revision,
  provider,
  domain,
  pipeline_template,
  schedule_cron,
  timezone,
  is_active,
  catch_up,
  priority,
  parameters,
  max_jitter_seconds,
  description,
  furthest_next_run_time AS next_run_time,
  latest_last_run_time AS last_run_time,
  created_at,
  created_by,
  recorded_at AS updated_at,
  recorded_by AS updated_by
FROM (
  SELECT
    *,
    MAX(next_run_time) OVER (PARTITION BY tenant_id, config_id, revision)
      AS furthest_next_run_time,
    MAX(last_run_time) OVER (PARTITION BY tenant_id, config_id) AS latest_last_run_time
  FROM `{project}.{dataset}.tenant_pipeline_configs_log`
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY tenant_id, config_id
    ORDER BY
      IF(change = 'ADVANCED', 0, 1) DESC,
      IF(change = 'DELETED', 1, 0) DESC,
      revision DESC,
      recorded_at DESC,
      sequence DESC
  ) = 1
)
WHERE change IN ('CREATED', 'EDITED')
