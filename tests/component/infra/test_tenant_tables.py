"""Datasets of tenants: upgraded together, checked, resumed; one that cannot be harms no other."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from infra import bootstrap, tenant_tables
from infra.local.bigquery import server
from shared import clients
from shared.settings import settings
from shared.warehouse import schemas, tables

TENANTS = ["acme", "beta", "gamma"]
LOG = "x_meta_step_logs_log"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[bigquery.Client]:
    """A BigQuery with three tenants, and one that is still being onboarded."""
    running = server.start(host="127.0.0.1", port=0, state=None)
    monkeypatch.setenv("GCP_PROJECT_ID", "convergence-local")
    monkeypatch.setenv("BIGQUERY_LOCATION", "US")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{running.port}")
    _forget()
    bootstrap.apply()
    made = bigquery.Client(
        project="convergence-local", location="US", credentials=AnonymousCredentials()
    )
    for number, tenant_id in enumerate(TENANTS):
        tables.ensure_dataset(tenant_id, labels={tables.OWNER_LABEL: tenant_id})
        tables.ensure(tenant_id, schemas.load_folder("tenant"))
        _profile(made, tenant_id, ["ACTIVE", "SUSPENDED"][number % 2])
    _profile(made, "early", "ONBOARDING")
    yield made
    _forget()
    running.stop()


def _forget() -> None:
    clients.bigquery_client.cache_clear()
    settings.cache_clear()


def _profile(client: bigquery.Client, tenant_id: str, status: str) -> None:
    row: dict[str, Any] = {"tenant_id": tenant_id, "status": status, "sequence": 1}
    row |= {"recorded_at": "2025-11-15T00:00:00Z", "created_at": "2025-11-15T00:00:00Z"}
    assert client.insert_rows_json("tenants.tenant_profiles_log", [row]) == []


def _outdate(client: bigquery.Client, *tenant_ids: str) -> None:
    """As an earlier version left it: a column fewer."""
    for tenant_id in tenant_ids:
        table = client.get_table(f"{tenant_id}.{LOG}")
        views = [v for v in client.list_tables(tenant_id) if v.table_type == "VIEW"]
        for view in views:
            client.delete_table(view)
        client.delete_table(table)
        fields = [field for field in table.schema if field.name != "error_code"]
        assert len(fields) == len(table.schema) - 1
        old = bigquery.Table(table.reference, fields)
        old.time_partitioning = table.time_partitioning
        old.clustering_fields = table.clustering_fields
        client.create_table(old)


def _columns(client: bigquery.Client, tenant_id: str) -> set[str]:
    return {field.name for field in client.get_table(f"{tenant_id}.{LOG}").schema}


def test_all_tenants_are_checked_upgraded_and_then_up_to_date(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    _outdate(client, "acme", "gamma")
    assert bootstrap.main(["--tenants", "--check"]) == 1
    told = capsys.readouterr().out
    assert f"add columns  acme.{LOG}: error_code" in told
    assert told.splitlines()[-1] == "3 tenants: 2 differ, 0 failed."
    assert "error_code" not in _columns(client, "acme")
    assert bootstrap.main(["--tenants"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 tenants: 2 upgraded, 0 failed."
    assert all("error_code" in _columns(client, tenant) for tenant in TENANTS)
    assert bootstrap.main(["--tenants", "--check"]) == 0


def test_an_upgrade_goes_on_behind_a_tenant(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    _outdate(client, *TENANTS)
    assert bootstrap.main(["--tenants", "--after", "acme"]) == 0
    assert "2 tenants: 2 upgraded" in capsys.readouterr().out
    assert "error_code" not in _columns(client, "acme")


def test_an_interrupted_upgrade_says_how_to_go_on(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(tenant_ids: list[str], *, check: bool) -> Iterator[tenant_tables.Upgraded]:
        yield tenant_tables.Upgraded("acme")
        raise KeyboardInterrupt

    monkeypatch.setattr(tenant_tables, "upgrade", interrupted)
    assert bootstrap.main(["--tenants"]) == 1
    assert "To go on: --tenants --after acme\n" in capsys.readouterr().out


def test_one_that_cannot_be_upgraded_is_told_and_the_others_are(
    client: bigquery.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    _outdate(client, "acme", "gamma")
    client.delete_dataset("beta", delete_contents=True)
    foreign = client.get_dataset("gamma")
    foreign.labels = {tables.OWNER_LABEL: "somebody_else"}
    client.update_dataset(foreign, ["labels"])
    assert bootstrap.main(["--tenants"]) == 1
    told = capsys.readouterr().out
    assert "failed       beta: its dataset is missing" in told
    assert "failed       gamma: " in told
    assert told.splitlines()[-1] == "3 tenants: 1 upgraded, 2 failed."
    assert "error_code" in _columns(client, "acme")
    assert "error_code" not in _columns(client, "gamma")
