"""What a step leaves in the tenant's tables, however often and whenever it is asked."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.cloud import bigquery
from pydantic import ValidationError

from shared.clients import bigquery_client
from shared.errors import InvalidInputError
from shared.processors.contract import StepContext, StepResult
from shared.processors.gcp.bigquery_to_bigquery import BigQueryToBigQuery
from shared.processors.gcp.dates import TooManyDatesError
from shared.processors.gcp.destinations import BigQueryConfig
from shared.telemetry import trace
from shared.warehouse.authorize import TooManyBytesError
from shared.warehouse.evolution import ResultDriftError
from shared.warehouse.failures import WarehouseBusyError, WarehouseError
from shared.warehouse.merges import DuplicateKeyError
from tests.component.conftest import PROJECT, Cloud
from tests.component.shared.engine.logs import step_rows
from tests.component.shared.post import deliver
from tests.runs import a_context, a_message, a_run, a_step
from tests.waiting import wait_until

DAY = date(2025, 11, 15)
EXPORTED = datetime(2025, 11, 16, 6, tzinfo=UTC)


def rows(sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in bigquery_client().query_and_wait(sql)]


def config(
    sql: str, parameters: dict[str, Any] | None = None, *, step: dict[str, Any] | None = None,
    **destination: Any,
) -> BigQueryConfig:  # fmt: skip
    """A step's configuration as the engine validates it; `{date}` is always a parameter."""
    listed = [{"name": "date", "type": "DATE", "value": str(DAY)}]
    for name, value in (parameters or {}).items():
        listed.append({"name": name, "type": "INT64", "value": value})
    query = {"sql": sql, "parameters": listed}
    return BigQueryConfig.model_validate(
        {"source": {"query": query}, "destination": {"table": "out"} | destination} | (step or {})
    )


def run(configured: BigQueryConfig, context: StepContext) -> StepResult:
    return BigQueryToBigQuery().run(configured, context)


@pytest.fixture
def context(tenant: str) -> StepContext:
    """The first attempt of a step of a new run."""
    return a_context(a_run(tenant))


def following(context: StepContext) -> StepContext:
    """The same step of another run."""
    return a_context(a_run(context.run.tenant_id))


# --- merge ---------------------------------------------------------------------------------------

PRICES = "SELECT @date AS day, sku, price FROM UNNEST({}) AS x"


def prices(*pairs: str) -> str:
    first, *others = pairs
    return PRICES.format(
        f"[STRUCT<sku STRING, price INT64>({first}){''.join(f', ({p})' for p in others)}]"
    )


def merging(sql: str, *keys: str, **changes: Any) -> BigQueryConfig:
    return config(sql, write="merge", keys=keys or ("sku",), **changes)


def test_merge_updates_known_keys_and_inserts_the_others(context: StepContext) -> None:
    run(merging(prices("'a', 1", "'b', 2")), context)

    done = run(merging(prices("'b', 20", "'c', 30")), following(context))

    table = f"`{context.run.tenant_id}.out`"
    assert rows(f"SELECT sku, price FROM {table} ORDER BY sku") == [("a", 1), ("b", 20), ("c", 30)]
    assert done.rows_processed == 2
    assert done.bytes_processed > 0


def test_merge_happens_once_however_often_it_is_asked_for(context: StepContext) -> None:
    add = merging("SELECT @date AS day, GENERATE_UUID() AS sku, 1 AS price", "day", "sku")

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: run(add, context), range(6)))

    assert {result.rows_processed for result in results} == {1}
    assert rows(f"SELECT COUNT(*) FROM `{context.run.tenant_id}.out`") == [(1,)]


def test_two_null_keys_are_the_same_key(context: StepContext) -> None:
    run(merging(prices("NULL, 1", "'a', 2")), context)
    run(merging(prices("NULL, 10")), following(context))

    found = rows(f"SELECT sku, price FROM `{context.run.tenant_id}.out` ORDER BY sku")
    assert found == [(None, 10), ("a", 2)]


@pytest.mark.parametrize("sku", ["'a'", "NULL"])
def test_result_with_a_key_twice_is_refused_with_the_key(context: StepContext, sku: str) -> None:
    run(merging(prices("'a', 1")), context)

    for _ in range(2):  # a second delivery meets the same job
        with pytest.raises(DuplicateKeyError, match="same sku, such as") as caught:
            run(merging(prices(f"{sku}, 5", f"{sku}, 6", "'b', 7")), following(context))
    assert sku.strip("'").lower() in caught.value.sample
    assert rows(f"SELECT sku, price FROM `{context.run.tenant_id}.out`") == [("a", 1)]


def test_key_that_the_result_lacks_is_named_with_those_it_has(context: StepContext) -> None:
    with pytest.raises(InvalidInputError, match=r"destination.keys.0.*it has sku"):
        run(merging(prices("'a', 1"), "skus"), context)
    with pytest.raises(InvalidInputError, match="cannot be a key"):
        run(merging("SELECT @date AS day, 1.5 AS sku"), context)


def test_merge_by_the_partitions_column_reads_the_partitions_of_the_result_only(
    context: StepContext,
) -> None:
    table = f"{context.run.tenant_id}.out"
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{table}` (day DATE, sku STRING, price INT64) PARTITION BY day"
    )
    many = "SELECT DATE '2025-01-01' AS day, CAST(n AS STRING) AS sku, n AS price"
    run(merging(f"{many}, FROM UNNEST(GENERATE_ARRAY(1, 5000)) AS n".replace(", FROM", " FROM"),
                "day", "sku"), context)  # fmt: skip

    done = run(merging(prices("'a', 1"), "day", "sku"), following(context))
    again = run(merging(prices("'a', 2"), "day", "sku"), following(context))

    assert (done.rows_processed, again.rows_processed) == (1, 1)
    assert again.bytes_processed < 5_000
    assert rows(f"SELECT price FROM `{table}` WHERE day = '{DAY}'") == [(2,)]


def test_merge_into_another_tenants_name_is_impossible(context: StepContext) -> None:
    for table in ("x`; DROP TABLE y; --", "other.t", "x$20251115"):
        with pytest.raises(ValidationError, match="must be a letter"):
            run(merging(prices("'a', 1"), table=table), context)


# --- lookback ------------------------------------------------------------------------------------


@pytest.fixture
def export(tenant: str) -> Iterator[str]:
    """An export of the tenant's own: what was used when, and when that was known."""
    name = f"{tenant}.export"
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{name}` (account STRING, used_at TIMESTAMP, n INT64, export_time TIMESTAMP)"
    )
    return name


def arrived(export: str, at: datetime, *usage: tuple[date, int], account: str = "mine") -> None:
    """Rows that a batch of the export brings."""
    values = ", ".join(
        f"('{account}', TIMESTAMP '{day} 12:00:00', {n}, TIMESTAMP '{at.isoformat()}')"
        for day, n in usage
    )
    bigquery_client().query_and_wait(f"INSERT INTO `{export}` VALUES {values}")


def daily(export: str, **step: Any) -> BigQueryConfig:
    """Sums a day of the export."""
    sql = f"SELECT @date AS day, SUM(n) AS total FROM `{export}` WHERE DATE(used_at) = @date"
    return config(f"{sql} AND account = 'mine'", step=step)


def totals(tenant: str) -> dict[date, int]:
    return dict(rows(f"SELECT day, total FROM `{tenant}.out` ORDER BY day"))  # type: ignore[arg-type]


def back(days: int) -> date:
    return DAY - timedelta(days=days)


def test_lookback_rewrites_the_days_before_too(context: StepContext, export: str) -> None:
    tenant = context.run.tenant_id
    arrived(export, EXPORTED, *((back(n), 10 + n) for n in range(5)))
    run(daily(export, lookback_days=4), context)
    arrived(export, EXPORTED, (back(2), 100), (back(3), 1000))

    done = run(daily(export, lookback_days=2), following(context))

    assert done.outputs["dates"] == [str(back(2)), str(back(1)), str(DAY)]
    assert done.rows_processed == 3
    assert totals(tenant) == {back(4): 14, back(3): 13, back(2): 112, back(1): 11, DAY: 10}


def test_every_day_is_a_job_of_its_own_under_the_names_of_tenant_run_step_template_and_trace(
    context: StepContext, export: str
) -> None:
    with trace(None) as traceparent:
        run(daily(export, lookback_days=2), context)
        run(daily(export, lookback_days=2), context)

    prefix = f"{context.run.pipeline_logging_id}--extract--write--1--"
    jobs = [job for job in bigquery_client().list_jobs() if job.job_id.startswith(prefix)]
    assert sorted(job.job_id for job in jobs) == [f"{prefix}{back(n):%Y%m%d}--1" for n in (2, 1, 0)]
    for job in jobs:
        assert job.labels == {
            "tenant_id": context.run.tenant_id,
            "pipeline_logging_id": context.run.pipeline_logging_id,
            "step_id": "extract",
            "template": "gcp-cost-cost_billing",
            "trace_id": traceparent.split("-")[1],
        }


def test_a_day_that_fails_leaves_the_others_whole_and_itself_as_it_was(
    context: StepContext, export: str
) -> None:
    arrived(export, EXPORTED, *((back(n), 10) for n in range(3)))
    run(daily(export, lookback_days=2), context)
    text = f"SELECT @date AS day, IF(@date = '{back(1)}', ERROR('broken'), 7) AS total"

    with pytest.raises(WarehouseError, match="broken"):
        run(config(text, step={"lookback_days": 2}), following(context))

    assert totals(context.run.tenant_id)[back(1)] == 10


def test_days_that_are_not_done_in_time_are_done_by_the_next_delivery(
    context: StepContext, export: str
) -> None:
    arrived(export, EXPORTED, *((back(n), n) for n in range(12)))
    late = a_context(context.run, deadline=datetime.now(UTC))

    with pytest.raises(WarehouseBusyError) as caught:
        run(daily(export, lookback_days=11), late)
    assert caught.value.reason == "running"

    assert run(daily(export, lookback_days=11), context).rows_processed == 12
    assert len(totals(context.run.tenant_id)) == 12


def test_cancelling_stops_every_day(context: StepContext, export: str, cloud: Cloud) -> None:
    prefix = f"{context.run.pipeline_logging_id}--extract--write--1--"
    for n in range(3):
        cloud.fail("jobs.run", job=f"{prefix}{back(n):%Y%m%d}--1", delay_seconds=60)
    arrived(export, EXPORTED, *((back(n), 10) for n in range(3)))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, daily(export, lookback_days=2), context)
        wait_until(lambda: _exists(f"{prefix}{DAY:%Y%m%d}--1"), message="the last day's job")
        assert BigQueryToBigQuery().cancel(context)
        with pytest.raises(WarehouseError):
            running.result()

    assert totals(context.run.tenant_id) == {}


def test_what_was_cancelled_before_it_began_does_not_begin(
    context: StepContext, export: str
) -> None:
    assert not BigQueryToBigQuery().cancel(context)

    with pytest.raises(WarehouseError, match="cancelled"):
        run(daily(export, lookback_days=2), context)


def _exists(job_id: str) -> bool:
    return any(job.job_id == job_id for job in bigquery_client().list_jobs(max_results=50))


# --- restate -------------------------------------------------------------------------------------


def restating(export: str, *, lookback_days: int = 0, **changes: Any) -> BigQueryConfig:
    restate = {
        "mode": "changed_since_last_run",
        "table": f"{PROJECT}.{export}",
        "changed_column": "export_time",
        "date_column": "used_at",
        "only": {"account": ["mine"]},
    }
    return daily(export, restate=restate | changes, lookback_days=lookback_days)


class Runs:
    """Runs of one step through the engine, whose log says how far each has seen the source."""

    def __init__(self, tenant: str, configured: BigQueryConfig) -> None:
        self._tenant = tenant
        self._config = configured.model_dump(mode="json")

    def message(self) -> Any:
        step = a_step("extract", ps_type="gcp.bigquery_to_bigquery", config=self._config)
        return a_message(step, run=a_run(self._tenant))

    def dates(self) -> list[date]:
        """Do a run; the dates that it wrote."""
        message = self.message()
        deliver(message)
        (row,) = step_rows(message.run)
        assert row["status"] == "COMPLETED", row["error"]
        return [date.fromisoformat(text) for text in row["outputs"]["dates"]]


@pytest.mark.usefixtures("central", "post")
class TestRestate:
    def test_exactly_the_touched_days_are_rewritten(self, tenant: str, export: str) -> None:
        runs = Runs(tenant, restating(export))
        arrived(export, EXPORTED, (DAY, 1), (back(1), 2), (back(9), 3))
        assert runs.dates() == [back(9), back(1), DAY]
        bigquery_client().query_and_wait(f"UPDATE `{tenant}.out` SET total = -1 WHERE TRUE")

        arrived(export, EXPORTED + timedelta(hours=4), (back(9), -3), (back(9), 5), (back(3), 4))

        assert runs.dates() == [back(9), back(3)]
        assert totals(tenant) == {back(9): 5, back(3): 4, back(1): -1, DAY: -1}
        assert runs.dates() == []

    def test_rows_that_do_not_count_touch_nothing(self, tenant: str, export: str) -> None:
        runs = Runs(tenant, restating(export))
        arrived(export, EXPORTED, (DAY, 1))
        arrived(export, EXPORTED, (back(2), 1), account="other")
        assert runs.dates() == [DAY]
        arrived(export, EXPORTED + timedelta(days=1), (back(4), 1), account="other")
        assert runs.dates() == []

    def test_first_run_looks_back_as_far_as_it_is_told(self, tenant: str, export: str) -> None:
        arrived(export, EXPORTED - timedelta(days=30), (back(31), 1))
        arrived(export, EXPORTED, (back(31), 1), (DAY, 1))
        assert Runs(tenant, restating(export, first_run_days=2)).dates() == [back(31), DAY]

    def test_lookback_is_written_beside_what_has_changed(self, tenant: str, export: str) -> None:
        runs = Runs(tenant, restating(export, lookback_days=1))
        arrived(export, EXPORTED, (back(9), 3))
        assert runs.dates() == [back(9), back(1), DAY]
        assert runs.dates() == [back(1), DAY]

    def test_switched_off_it_is_the_runs_own_day(self, tenant: str, export: str) -> None:
        arrived(export, EXPORTED, (back(9), 3))
        assert Runs(tenant, restating(export, mode="none")).dates() == [DAY]

    def test_another_question_has_seen_nothing_yet(self, tenant: str, export: str) -> None:
        arrived(export, EXPORTED, (DAY, 3))
        assert Runs(tenant, restating(export)).dates() == [DAY]
        wider = restating(export, only={"account": ["mine", "new"]})
        assert Runs(tenant, wider).dates() == [DAY]

    def test_crash_between_write_and_record_repeats_the_same_days(
        self, tenant: str, export: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from shared.engine import outcomes
        from shared.engine.execute import execute

        runs = Runs(tenant, restating(export))
        arrived(export, EXPORTED, (DAY, 1), (back(9), 3))
        record = outcomes.record_step

        def die(message: Any, status: str, **kwargs: Any) -> None:
            if status == "COMPLETED":
                raise SystemExit
            record(message, status, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(outcomes, "record_step", die)
            with pytest.raises(SystemExit):
                execute(runs.message())
        assert totals(tenant) == {back(9): 3, DAY: 1}

        assert runs.dates() == [back(9), DAY]
        assert totals(tenant) == {back(9): 3, DAY: 1}
        assert runs.dates() == []

    def test_rows_that_arrive_between_two_deliveries_are_the_next_runs(
        self, tenant: str, export: str
    ) -> None:
        arrived(export, EXPORTED, (DAY, 1))
        context = a_context(a_run(tenant))
        first = run(restating(export), context)
        arrived(export, EXPORTED + timedelta(hours=1), (back(2), 1), (DAY, 10))

        second = run(restating(export), context)

        assert second.outputs == first.outputs
        assert first.outputs["high_water_mark"] == EXPORTED.isoformat()
        assert totals(tenant) == {DAY: 1}

    def test_where_runs_overlap_the_older_view_counts(self, tenant: str, export: str) -> None:
        runs = Runs(tenant, restating(export))
        arrived(export, EXPORTED, (DAY, 1))
        early = runs.message()
        config = BigQueryConfig.model_validate(early.step.config)
        run(config, a_context(early.run))  # has asked and written, but not recorded
        arrived(export, EXPORTED + timedelta(hours=1), (back(2), 1))
        assert runs.dates() == [back(2), DAY]
        deliver(early)

        assert runs.dates() == [back(2)]
        assert runs.dates() == []

    def test_more_changes_than_allowed_write_nothing(self, tenant: str, export: str) -> None:
        arrived(export, EXPORTED, *((back(n), 1) for n in range(4)))
        with pytest.raises(TooManyDatesError, match="More than 3 dates"):
            run(restating(export, max_dates=3), a_context(a_run(tenant)))
        assert totals(tenant) == {}

    def test_partitions_before_the_last_change_are_not_read(self, tenant: str) -> None:
        name = f"{tenant}.export"
        bigquery_client().query_and_wait(
            f"CREATE TABLE `{name}` (account STRING, used_at TIMESTAMP, n INT64, export_time"
            " TIMESTAMP) PARTITION BY DATE(_PARTITIONTIME)"
        )
        _load(name, EXPORTED - timedelta(days=20), DAY - timedelta(days=21), 5000)
        _load(name, EXPORTED, DAY, 2)
        runs = Runs(tenant, restating(name, partition_column="_PARTITIONTIME"))
        assert runs.dates() == [back(21), DAY]
        _load(name, EXPORTED + timedelta(days=3), DAY, 2)
        assert runs.dates() == [DAY]
        asked = [job for job in bigquery_client().list_jobs() if "--dates--" in job.job_id
                 and job.labels.get("tenant_id") == tenant]  # fmt: skip
        first, second = sorted(asked, key=lambda job: job.created)
        assert second.total_bytes_processed < first.total_bytes_processed / 100


def _load(table: str, at: datetime, used: date, count: int) -> None:
    """`count` rows into the partition of the day that they arrive on."""
    config = bigquery.QueryJobConfig(
        destination=f"{PROJECT}.{table}${at:%Y%m%d}", write_disposition="WRITE_TRUNCATE_DATA"
    )
    bigquery_client().query(
        f"SELECT 'mine' AS account, TIMESTAMP '{used} 12:00:00' AS used_at, n,"
        f" TIMESTAMP '{at.isoformat()}' AS export_time"
        f" FROM UNNEST(GENERATE_ARRAY(1, {count})) AS n",
        job_config=config,
    ).result()


# --- drift ---------------------------------------------------------------------------------------


def drift(tenant: str) -> list[tuple[Any, ...]]:
    return rows(
        "SELECT column_name, expected, observed, severity FROM"
        f" `{tenant}.x_meta_dq_results` ORDER BY column_name"
    )


def kinds(result: StepResult) -> list[tuple[str, str, str | None, str | None]]:
    return [(e["kind"], e["column"], e["before"], e["after"]) for e in result.outputs["drift"]]


def test_column_that_appears_is_added_and_recorded(context: StepContext) -> None:
    run(config("SELECT @date AS day, 1 AS n"), context)

    done = run(
        config("SELECT @date AS day, 2 AS n, [STRUCT('k' AS key)] AS labels"), following(context)
    )

    assert kinds(done) == [("column_added", "labels", None, "ARRAY<STRUCT<key STRING>>")]
    assert rows(f"SELECT n, labels[OFFSET(0)].key FROM `{context.run.tenant_id}.out`") == [(2, "k")]
    assert [row[0] for row in drift(context.run.tenant_id)] == ["labels"]


def test_column_inside_of_a_record_is_added_too(context: StepContext) -> None:
    run(config("SELECT @date AS day, STRUCT(1 AS a) AS r"), context)

    done = run(config("SELECT @date AS day, STRUCT(1 AS a, 'x' AS b) AS r"), following(context))

    assert kinds(done) == [("column_added", "r.b", None, "STRING")]
    assert rows(f"SELECT r.b FROM `{context.run.tenant_id}.out`") == [("x",)]


@pytest.mark.parametrize("write", ["replace_partition", "append", "merge"])
def test_column_that_vanishes_stays_null(context: StepContext, write: str) -> None:
    keys = {"keys": ["n"]} if write == "merge" else {}
    run(config("SELECT @date AS day, 1 AS n, 'x' AS gone, [1] AS list", write=write, **keys),
        context)  # fmt: skip

    done = run(config("SELECT @date AS day, 2 AS n", write=write, **keys), following(context))

    assert {event[:2] for event in kinds(done)} == {
        ("column_missing", "gone"), ("column_missing", "list"),
    }  # fmt: skip
    table = bigquery_client().get_table(f"{context.run.tenant_id}.out")
    assert [field.name for field in table.schema] == ["day", "n", "gone", "list"]
    found = rows(f"SELECT gone, ARRAY_LENGTH(list) FROM `{context.run.tenant_id}.out` WHERE n = 2")
    assert found in ([(None, 0)], [(None, None)])


@pytest.mark.parametrize("changed", ["'1'", "1.5", "[1]", "STRUCT(1 AS a)"])
def test_changed_type_stops_the_step_before_anything_is_written(
    context: StepContext, changed: str
) -> None:
    run(config("SELECT @date AS day, 1 AS n"), context)

    with pytest.raises(ResultDriftError, match=r"column n is INT64, the query now gives") as caught:
        run(config(f"SELECT @date AS day, {changed} AS n, 'x' AS new"), following(context))

    assert [event.kind for event in caught.value.events] == ["type_changed"]
    table = bigquery_client().get_table(f"{context.run.tenant_id}.out")
    assert [field.name for field in table.schema] == ["day", "n"]
    assert rows(f"SELECT n FROM `{context.run.tenant_id}.out`") == [(1,)]
    assert [(row[0], row[3]) for row in drift(context.run.tenant_id)] == [("n", "fail")]


def test_table_of_a_schema_file_may_have_gained_columns(context: StepContext) -> None:
    usage = "SELECT @date AS usage_date, 'x' AS project_id"
    template = {"schema_template": "gcp/billing_cost_daily"}
    run(config(f"{usage}, 1 AS brand_new", **template), context)

    done = run(config(f"{usage}, 2 AS brand_new", **template), following(context))

    assert ("column_added", "brand_new") not in {event[:2] for event in kinds(done)}
    assert rows(f"SELECT brand_new FROM `{context.run.tenant_id}.out`") == [(2,)]


# --- limits --------------------------------------------------------------------------------------


def test_the_smallest_limit_of_step_and_run_holds(context: StepContext, export: str) -> None:
    arrived(export, EXPORTED, (DAY, 1))
    narrow = a_context(context.run, max_bytes_billed=1)

    with pytest.raises(TooManyBytesError, match="allows 1:"):
        run(daily(export), narrow)
    with pytest.raises(TooManyBytesError, match="allows 2:"):
        run(daily(export, max_bytes_billed=2), a_context(context.run, max_bytes_billed=10**9))
    with pytest.raises(TooManyBytesError):
        run(restating(export, mode="changed_since_last_run"), narrow)
    assert run(daily(export), context).rows_processed == 1


def test_result_tells_what_was_read_and_billed(context: StepContext, export: str) -> None:
    arrived(export, EXPORTED, (DAY, 1))

    done = run(daily(export), context)

    job = bigquery_client().get_job(done.outputs["job_id"])
    assert done.bytes_processed == job.total_bytes_processed > 0
    assert done.outputs["bytes_billed"] == job.total_bytes_billed > 0


@pytest.mark.parametrize(
    ("step", "destination", "complaint"),
    [
        ({}, {"write": "merge"}, "merge needs keys"),
        ({}, {"keys": ["a"]}, "keys are for write: merge"),
        ({}, {"write": "merge", "keys": ["a", "a"]}, "stands twice"),
        ({}, {"write": "merge", "keys": ["a`b"]}, "should match pattern"),
        ({"lookback_days": 1}, {"write": "append"}, "lookback_days is for write"),
        ({"lookback_days": -1}, {}, "greater than or equal to 0"),
        ({"restate": {"table": "d.t", "changed_column": "a;b", "date_column": "d"}}, {}, "pattern"),
        ({"restate": {"table": "d`t", "changed_column": "a", "date_column": "d"}}, {}, "pattern"),
        (
            {"restate": {"table": "d.t", "changed_column": "a", "date_column": "d"}},
            {"write": "merge", "keys": ["a"]},
            "restate is for write",
        ),
    ],
)
def test_configuration_that_cannot_work_is_refused_when_it_is_read(
    step: dict[str, Any], destination: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        config("SELECT @date AS day", step=step, **destination)


def test_other_days_need_a_query_that_knows_its_date() -> None:
    with pytest.raises(ValueError, match=r"let it filter by \{date\}"):
        BigQueryConfig.model_validate(
            {
                "source": {"query": {"sql": "SELECT 1 AS n"}},
                "destination": {"table": "out"},
                "lookback_days": 1,
            }
        )
