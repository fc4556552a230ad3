-- Steps: one row an attempt, in its latest state. The first final state recorded stands, so a late
-- RUNNING never hides a COMPLETED and two deliveries of a message leave one row.
-- is_latest_attempt picks one row a step.
SELECT
  pipeline_logging_id,
  tenant_id,
  step_id,
  step_name,
  ps_type,
  attempt,
  attempt = latest_attempt AS is_latest_attempt,
  status,
  rows_processed,
  bytes_processed,
  first_start_time AS start_time,
  end_time,
  IFNULL(duration_ms, TIMESTAMP_DIFF(end_time, first_start_time, MILLISECOND)) AS duration_ms,
  error,
  error_code,
  step_index,
  step_trigger,
  job_id,
  outputs,
  recorded_at
FROM (
  SELECT
    *,
    MAX(attempt) OVER (PARTITION BY pipeline_logging_id, step_id) AS latest_attempt,
    MIN(start_time) OVER (PARTITION BY pipeline_logging_id, step_id, attempt) AS first_start_time,
    ROW_NUMBER() OVER (
      PARTITION BY pipeline_logging_id, step_id, attempt
      ORDER BY
        CASE status WHEN 'PENDING' THEN 0 WHEN 'RUNNING' THEN 1 ELSE 2 END DESC,
        IF(status IN ('PENDING', 'RUNNING'), NULL, recorded_at),
        recorded_at DESC,
        sequence DESC
    ) AS preference
  FROM `{project}.{dataset}.x_meta_step_logs_log`
)
WHERE preference = 1
