-- Runs: one row each, in the latest state. The first final state recorded stands, whatever comes
-- later; a late RUNNING or PENDING never hides what followed it. What only the first rows of a run
-- know (its parameters, its deadline) is carried into the row shown.
SELECT
  pipeline_logging_id,
  pipeline_id,
  tenant_id,
  user_id,
  status,
  first_start_time AS start_time,
  end_time,
  IFNULL(duration_ms, TIMESTAMP_DIFF(end_time, first_start_time, MILLISECOND)) AS duration_ms,
  trigger_type,
  trigger_by,
  provider,
  domain,
  template_name,
  date,
  run_date,
  known_parameters AS parameters,
  failed_step,
  error,
  error_code,
  rows_processed,
  bytes_processed,
  known_steps_total AS steps_total,
  known_deadline AS deadline,
  known_slot AS slot,
  known_config_id AS config_id,
  known_parent_run_id AS parent_run_id,
  known_trace_id AS trace_id,
  recorded_at
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER states AS preference,
    MIN(start_time) OVER whole_run AS first_start_time,
    FIRST_VALUE(parameters IGNORE NULLS) OVER whole_run AS known_parameters,
    FIRST_VALUE(steps_total IGNORE NULLS) OVER whole_run AS known_steps_total,
    FIRST_VALUE(deadline IGNORE NULLS) OVER whole_run AS known_deadline,
    FIRST_VALUE(slot IGNORE NULLS) OVER whole_run AS known_slot,
    FIRST_VALUE(config_id IGNORE NULLS) OVER whole_run AS known_config_id,
    FIRST_VALUE(parent_run_id IGNORE NULLS) OVER whole_run AS known_parent_run_id,
    FIRST_VALUE(trace_id IGNORE NULLS) OVER whole_run AS known_trace_id
  FROM `{project}.{dataset}.x_meta_pipeline_runs_log`
  WINDOW
    states AS (
      PARTITION BY pipeline_logging_id
      ORDER BY
        CASE status
          WHEN 'QUEUED' THEN 0 WHEN 'PENDING' THEN 1 WHEN 'RUNNING' THEN 2 ELSE 3
        END DESC,
        IF(status IN ('QUEUED', 'PENDING', 'RUNNING'), NULL, recorded_at),
        recorded_at DESC,
        sequence DESC
    ),
    whole_run AS (states ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE preference = 1
