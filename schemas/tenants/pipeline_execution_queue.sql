-- Runs that wait for a free slot now: one row a run. A run that has left does not come back.
SELECT *
FROM (
  SELECT *
  FROM `{project}.{dataset}.pipeline_execution_queue_log`
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY tenant_id, pipeline_logging_id
    ORDER BY IF(state = 'QUEUED', 0, 1) DESC, recorded_at DESC, sequence DESC
  ) = 1
)
WHERE state = 'QUEUED'
