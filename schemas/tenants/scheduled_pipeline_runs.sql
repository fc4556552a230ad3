-- Occurrences of schedules: one row each, in the latest state. The first final state recorded stands.
-- What happened to a run once it was admitted comes from the usage ledger: when it was let in, when
-- its first step began, when and how it ended.
WITH occurrences AS (
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
),
admissions AS (
  SELECT
    tenant_id,
    pipeline_logging_id,
    MIN(IF(event = 'ADMITTED', recorded_at, NULL)) AS admitted_at,
    MIN(IF(event = 'RELEASED', started_at, NULL)) AS started_at,
    ARRAY_AGG(
      IF(event = 'RELEASED' AND status IS NOT NULL, STRUCT(recorded_at, status, reason), NULL)
      IGNORE NULLS
      ORDER BY recorded_at
    )[SAFE_OFFSET(0)] AS ended
  FROM `{project}.{dataset}.usage_ledger`
  WHERE event IN ('ADMITTED', 'RELEASED') AND pipeline_logging_id IS NOT NULL
  GROUP BY tenant_id, pipeline_logging_id
)
SELECT
  run.* REPLACE (
    CASE
      WHEN run.state NOT IN ('TRIGGERED', 'QUEUED', 'RUNNING') THEN run.state
      WHEN admission.ended IS NOT NULL THEN admission.ended.status
      WHEN admission.admitted_at IS NOT NULL THEN 'RUNNING'
      ELSE run.state
    END AS state,
    IFNULL(run.reason, admission.ended.reason) AS reason,
    IFNULL(run.started_at, admission.started_at) AS started_at,
    IFNULL(run.completed_at, admission.ended.recorded_at) AS completed_at
  ),
  admission.admitted_at
FROM occurrences AS run
LEFT JOIN admissions AS admission
  ON admission.tenant_id = run.tenant_id
  AND admission.pipeline_logging_id = run.pipeline_logging_id
