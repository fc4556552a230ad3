-- Usage against the limits: one row a tenant and UTC day on which it ran something, and always one
-- for today, so a new day starts at zero by itself. concurrent_pipelines_running is as of now and
-- stands in today's row only. A refunded slot does not count, and a run that two processes admitted
-- at the same moment under two slots counts once.
WITH slots AS (
  SELECT
    tenant_id,
    slot,
    IFNULL(MAX(pipeline_logging_id), CAST(slot AS STRING)) AS run_id,
    IFNULL(MIN(IF(event = 'ADMITTED', usage_date, NULL)), MIN(usage_date)) AS usage_date,
    LOGICAL_OR(event = 'ADMITTED') AND NOT LOGICAL_OR(event = 'REFUNDED') AS counts,
    LOGICAL_OR(event = 'RELEASED') AS released,
    MAX(deadline) AS deadline
  FROM `{project}.{dataset}.usage_ledger`
  GROUP BY tenant_id, slot
),
runs AS (
  SELECT
    tenant_id,
    run_id,
    MIN(usage_date) AS usage_date,
    LOGICAL_OR(released) AS released,
    MAX(deadline) AS deadline
  FROM slots
  WHERE counts
  GROUP BY tenant_id, run_id
),
running AS (
  SELECT tenant_id, COUNT(*) AS runs_running
  FROM runs
  WHERE
    NOT released AND deadline > CURRENT_TIMESTAMP()
    AND usage_date >= DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)
  GROUP BY tenant_id
),
days AS (
  SELECT tenant_id, usage_date, COUNT(DISTINCT run_id) AS pipelines_run
  FROM slots
  WHERE counts
  GROUP BY tenant_id, usage_date
  UNION ALL
  SELECT DISTINCT tenant_id, usage_date, 0 AS pipelines_run
  FROM slots
  UNION ALL
  SELECT tenant_id, CURRENT_DATE() AS usage_date, 0 AS pipelines_run
  FROM `{project}.{dataset}.tenant_subscriptions`
),
daily AS (
  SELECT tenant_id, usage_date, SUM(pipelines_run) AS pipelines_run_today
  FROM days
  GROUP BY tenant_id, usage_date
),
monthly AS (
  SELECT
    tenant_id,
    usage_date,
    pipelines_run_today,
    SUM(pipelines_run_today) OVER (
      PARTITION BY tenant_id, DATE_TRUNC(usage_date, MONTH)
      ORDER BY usage_date
    ) AS pipelines_run_month
  FROM daily
)
SELECT
  monthly.tenant_id,
  monthly.usage_date,
  monthly.pipelines_run_today,
  plan.daily_limit,
  monthly.pipelines_run_month,
  plan.monthly_limit,
  IF(monthly.usage_date = CURRENT_DATE(), IFNULL(running.runs_running, 0), 0)
    AS concurrent_pipelines_running,
  plan.concurrent_limit,
  plan.plan_name
FROM monthly
INNER JOIN `{project}.{dataset}.tenant_subscriptions` AS plan
  ON plan.tenant_id = monthly.tenant_id
LEFT JOIN running
  ON running.tenant_id = monthly.tenant_id
