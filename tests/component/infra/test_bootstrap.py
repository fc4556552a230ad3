"""The central dataset: created, upgraded, checked, never damaged, on a real local BigQuery."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from infra import bootstrap
from infra.local.bigquery import server
from shared import clients
from shared.errors import Permanent
from shared.settings import settings
from shared.warehouse import schemas, tables
from shared.warehouse.drift import DriftError
from shared.warehouse.tables import Action, DatasetOwnerError

RELATIONS = schemas.load_folder("tenants")
Fields = list[bigquery.SchemaField]
VIEWS = sorted(r.name for r in RELATIONS if isinstance(r, schemas.ViewSchema))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty BigQuery that the product's client speaks to."""
    running = server.start(host="127.0.0.1", port=0, state=None)
    url = f"http://127.0.0.1:{running.port}"
    monkeypatch.setenv("GCP_PROJECT_ID", "convergence-local")
    monkeypatch.setenv("BIGQUERY_LOCATION", "US")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
    _forget()
    yield url
    _forget()
    running.stop()


@pytest.fixture
def client(endpoint: str) -> bigquery.Client:
    return bigquery.Client(
        project="convergence-local", location="US", credentials=AnonymousCredentials()
    )


def _forget() -> None:
    clients.bigquery_client.cache_clear()
    settings.cache_clear()


def _names(client: bigquery.Client) -> list[str]:
    return sorted(table.table_id for table in client.list_tables("tenants"))


def test_check_then_create_then_nothing_to_do(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["--check"]) == 1
    assert list(client.list_datasets()) == []
    assert bootstrap.main([]) == 0
    assert capsys.readouterr().out.count("  create ") == 2 * (len(RELATIONS) + 1)
    assert _names(client) == sorted(relation.name for relation in RELATIONS)
    assert client.get_dataset("tenants").labels == bootstrap.LABELS
    assert bootstrap.main(["--check"]) == 0
    assert bootstrap.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing to do."


def test_a_second_run_writes_nothing(endpoint: str, client: bigquery.Client) -> None:
    bootstrap.apply()
    httpx.delete(f"{endpoint}/_local/calls")
    bootstrap.apply()
    calls = httpx.get(f"{endpoint}/_local/calls").json()
    assert {method for method in calls if "." in method} <= {"datasets.get", "tables.get"}
    assert calls["tables.get"] == len(RELATIONS)


def test_tables_are_as_their_files_say(client: bigquery.Client) -> None:
    bootstrap.apply()
    ledger = client.get_table("tenants.usage_ledger")
    assert ledger.time_partitioning.field == "usage_date"
    assert ledger.time_partitioning.expiration_ms == 400 * 24 * 60 * 60 * 1000
    assert ledger.clustering_fields == ["tenant_id", "slot"]
    assert all(field.description for field in ledger.schema)
    assert {f.name: f.mode for f in ledger.schema}["slot"] == "REQUIRED"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_queried(client: bigquery.Client, view: str) -> None:
    bootstrap.apply()
    result = client.query_and_wait(f"SELECT * FROM `tenants.{view}` WHERE tenant_id = 'nobody'")
    assert list(result) == []
    assert "tenant_id" in [field.name for field in result.schema]


def test_a_missing_nullable_column_is_added_and_rows_stay(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_changed_profiles(client, lambda fields: [f for f in fields if f.name != "status_reason"])
    client.insert_rows_json(
        "tenants.tenant_profiles_log",
        [{"tenant_id": "acme", "status": "ACTIVE", "recorded_at": "2025-11-15T00:00:00Z",
          "sequence": 1}],
    )  # fmt: skip
    assert bootstrap.main([]) == 0
    assert "add columns  tenants.tenant_profiles_log: status_reason" in capsys.readouterr().out
    rows = list(client.query_and_wait("SELECT * FROM tenants.tenant_profiles"))
    assert [(row.tenant_id, row.status_reason) for row in rows] == [("acme", None)]


def test_drift_is_reported_with_its_columns_and_nothing_is_changed(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    def drifted(fields: Fields) -> Fields:
        kept = [f for f in fields if f.name not in {"company_name", "status"}]
        return [*kept, bigquery.SchemaField("company_name", "INTEGER"),
                bigquery.SchemaField("nickname", "STRING")]  # fmt: skip

    _with_changed_profiles(client, drifted)
    assert bootstrap.main([]) == 1
    told = capsys.readouterr().err
    assert "tenants.tenant_profiles_log column company_name is INTEGER, the schema says" in told
    assert "column status is missing and cannot be added" in told
    assert "column nickname is not in the schema" in told
    assert _names(client) == ["tenant_profiles_log"]


def test_two_at_once_give_one_result(client: bigquery.Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(bootstrap.apply) for _ in range(4)]
        changes = [change for result in results for change in result.result()]
    assert len(changes) == 4 * (len(RELATIONS) + 1)
    assert bootstrap.main(["--check"]) == 0


def test_an_outdated_view_is_replaced(client: bigquery.Client) -> None:
    bootstrap.apply()
    view = client.get_table("tenants.tenant_profiles")
    view.view_query = "SELECT 1 AS one"
    client.update_table(view, ["view_query"])
    changes = {change.name: change for change in bootstrap.plan()}
    assert changes["tenants.tenant_profiles"].action is Action.UPDATE
    bootstrap.apply()
    assert "tenant_id" in [
        field.name
        for field in client.query_and_wait("SELECT * FROM tenants.tenant_profiles").schema
    ]


def test_a_foreign_dataset_is_left_alone(client: bigquery.Client) -> None:
    for name, labels in (("theirs", {"tenant_id": "other"}), ("unlabelled", {})):
        dataset = bigquery.Dataset(f"convergence-local.{name}")
        dataset.labels = labels
        client.create_dataset(dataset)
        with pytest.raises(DatasetOwnerError) as caught:
            tables.ensure_dataset(name, labels={"tenant_id": "acme"})
        assert caught.value.owner == labels.get("tenant_id")
        assert client.get_dataset(name).labels == labels


def test_a_tenants_dataset_gets_its_views_with_their_logs(client: bigquery.Client) -> None:
    tables.ensure_dataset("acme_corp", labels={"tenant_id": "acme_corp"})
    wanted = schemas.load_relations("tenant", ("x_meta_pipeline_runs.sql", "x_meta_step_logs.sql"))
    assert {change.action for change in tables.ensure("acme_corp", wanted)} == {Action.CREATE}
    assert {change.action for change in tables.ensure("acme_corp", wanted)} == {Action.UNCHANGED}
    names = {table.table_id for table in client.list_tables("acme_corp")}
    assert names == {
        "x_meta_pipeline_runs", "x_meta_pipeline_runs_log",
        "x_meta_step_logs", "x_meta_step_logs_log",
    }  # fmt: skip


def test_the_views_of_a_tenant_show_one_row_a_run_and_step(client: bigquery.Client) -> None:
    tables.ensure_dataset("acme_corp", labels={"tenant_id": "acme_corp"})
    tables.ensure("acme_corp", schemas.load_folder("tenant"))
    run = {"pipeline_logging_id": "r", "tenant_id": "acme_corp", "pipeline_id": "p"}
    step = {"pipeline_logging_id": "r", "tenant_id": "acme_corp", "step_id": "s", "attempt": 1}
    for number, status in enumerate(("RUNNING", "COMPLETED", "RUNNING", "FAILED"), start=1):
        state = {
            "status": status,
            "start_time": "2025-11-15T02:00:00Z",
            "end_time": f"2025-11-15T02:00:0{number}Z" if status != "RUNNING" else None,
            "recorded_at": f"2025-11-15T02:00:0{number}Z",
            "sequence": number,
        }
        known = {"parameters": '{"date": "2025-11-14"}'} if number == 1 else {}
        for log, row in (
            ("x_meta_pipeline_runs_log", {**run, **state, **known}),
            ("x_meta_step_logs_log", {**step, **state}),
        ):
            assert client.insert_rows_json(f"acme_corp.{log}", [row]) == []
    query = "SELECT * FROM `acme_corp.{}` WHERE pipeline_logging_id = 'r' ORDER BY start_time"
    (found,) = client.query_and_wait(query.format("x_meta_pipeline_runs"))
    assert (found.status, found.duration_ms) == ("COMPLETED", 2_000)
    assert found.parameters == {"date": "2025-11-14"}
    (found,) = client.query_and_wait(query.format("x_meta_step_logs"))
    assert (found.status, found.is_latest_attempt) == ("COMPLETED", True)


def test_a_data_table_may_have_another_name_than_its_file(client: bigquery.Client) -> None:
    tables.ensure_dataset("acme_gcp_silver_cost", labels={"tenant_id": "acme"})
    schema = schemas.load_table("gcp/billing_cost_daily")
    change = tables.ensure_relation("acme_gcp_silver_cost", schema, name="costs")
    assert change.name == "acme_gcp_silver_cost.costs"
    assert client.get_table("acme_gcp_silver_cost.costs").time_partitioning.field == "usage_date"


def test_a_view_where_a_table_should_be_is_drift(client: bigquery.Client) -> None:
    client.create_dataset("tenants")
    view = bigquery.Table("convergence-local.tenants.audit_log")
    view.view_query = "SELECT 1 AS one"
    client.create_table(view)
    with pytest.raises(DriftError, match=r"tenants\.audit_log is a VIEW, the schema says TABLE"):
        bootstrap.plan()


def test_the_errors_are_permanent() -> None:
    assert issubclass(DriftError, Permanent)
    assert issubclass(DatasetOwnerError, Permanent)


def _with_changed_profiles(client: bigquery.Client, change: Callable[[Fields], Fields]) -> None:
    """A dataset with only tenant_profiles_log, its columns changed."""
    client.create_dataset("tenants")
    schema = schemas.load_table("tenants/tenant_profiles_log")
    fields = [column.as_field() for column in schema.fields]
    table = bigquery.Table(
        "convergence-local.tenants.tenant_profiles_log",
        schema=change(fields),
    )
    table.time_partitioning = bigquery.TimePartitioning(field="recorded_at")
    table.clustering_fields = ["tenant_id"]
    client.create_table(table)
