-- Data quality results: one row a rule and attempt, the latest that was recorded.
SELECT *
FROM `{project}.{dataset}.x_meta_dq_results_log`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY pipeline_logging_id, step_id, attempt, rule_id
  ORDER BY recorded_at DESC, sequence DESC
) = 1
