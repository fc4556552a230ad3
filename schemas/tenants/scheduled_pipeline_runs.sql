-- Occurrences of schedules: one row each, in the latest state. The first final state recorded stands.
SELECT *
FROM `{project}.{dataset}.scheduled_pipeline_runs_log`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY tenant_id, pipeline_logging_id
  ORDER BY
    CASE state
      WHEN 'TRIGGERED' THEN 0
      WHEN 'QUEUED' THEN 1
      WHEN 'RUNNING' THEN 2
      ELSE 3
    END DESC,
    IF(state IN ('TRIGGERED', 'QUEUED', 'RUNNING'), NULL, recorded_at),
    recorded_at DESC,
    sequence DESC
) = 1
