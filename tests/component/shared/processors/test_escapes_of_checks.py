"""Ways out through the processors that check, reconcile, search and tell; none of them works.

The same two tenants as in test_escape_attempts.py, every field a body variable, every fragment of
SQL a hostile author's. What is refused is refused; what runs has read nothing of the victim's.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.clients import bigquery_client
from shared.engine import prepare as prepared
from shared.errors import ConvergenceError, InvalidInputError, Permanent
from shared.processors import registry
from shared.processors.contract import StepResult
from shared.templates.problems import TemplateError
from shared.templates.resolver import fill
from tests.component.shared.engine.templates import templates
from tests.component.shared.processors.test_escape_attempts import (
    COLUMNS,
    NAMES,
    PLACES,
    QUOTES,
    SECRET,
    World,
    world,
)
from tests.runs import a_context

__all__ = ["world"]
pytestmark = pytest.mark.usefixtures("central")

VARIABLES: dict[str, Any] = {
    "dataset_type": "gcp_silver_cost",
    "table": "{project_id}.{tenant_id}.mine",
    "target": "spikes",
    "column": "n",
    "key": "secret",
    "other": "{project_id}.{tenant_id}.mine",
    "day": "at",
    "text": "x",
    "limit": 5,
    "costs": "{project_id}.{tenant_id}.mine",
    "url": "https://127.0.0.1:1/",
    "secret": "webhook-key",
    "mail": "a@example.com",
}
OTHER = {"table": "{other}", "column": "{column}", "date_column": "{day}"}
RULES: list[dict[str, Any]] = [
    {"name": "a", "check": "not_null", "column": "{column}", "scope": "table"},
    {"name": "b", "check": "accepted_values", "column": "{column}", "values": ["{text}"]},
    {"name": "c", "check": "range", "column": "n", "minimum": "{limit}"},
    {"name": "d", "check": "unique", "columns": ["{key}"]},
    {"name": "e", "check": "condition", "condition": "secret != '{text}'"},
    {"name": "f", "check": "sum_matches", "column": "n", "other": OTHER},
    {"name": "g", "check": "sql", "query": "SELECT * FROM `{other}` WHERE secret = {text}"},
]
SPIKES = (
    "SELECT DATE(at) AS usage_date, secret AS service, '{text}' AS project, 'USD' AS currency,"
    " n AS cost FROM `{costs}`"
)
CONTROL = {"query": "SELECT '{text}' AS period, n AS row_count, n AS cost FROM `{other}`"}
STEPS: dict[str, dict[str, Any]] = {
    "checks": {
        "ps_type": "shared.data_quality", "table": "{table}", "date_column": "{day}",
        "keys": ["{key}"], "rules": [rule | {"severity": "warn"} for rule in RULES],
    },
    "reconciles": {
        "ps_type": "shared.reconcile", "table": "{table}", "date_column": "{day}",
        "period": "{key}", "cost": "{column}", "control": CONTROL,
    },
    "promotes": {
        "ps_type": "shared.reconcile", "dataset_type": "{dataset_type}", "table": "{target}",
        "promote_to": "promoted", "control": CONTROL,
    },
    "searches": {
        "ps_type": "anomaly.cost_spike", "source": {"query": SPIKES},
        "destination": {"dataset_type": "{dataset_type}", "table": "{target}"},
    },
    "foresees": {
        "ps_type": "gcp.dry_run", "source": {"query": "SELECT * FROM `{costs}`"},
        "destination": {"dataset_type": "{dataset_type}", "table": "{target}"},
    },
    "tells": {
        "ps_type": "shared.webhook", "url": "{url}", "signing_secret": "{secret}",
        "event": "{text}",
    },
    "says": {
        "ps_type": "shared.slack_notification", "webhook_secret": "{secret}", "title": "{text}",
        "message": "{text}",
    },
    "mails": {
        "ps_type": "shared.email_notification", "to_emails": ["{mail}"], "subject": "s",
        "message": "m",
    },
}  # fmt: skip
URLS = [
    "http://<victim>.example.com/", "https://metadata.google.internal/computeMetadata/v1/",
    "https://169.254.169.254/", "https://127.0.0.1/", "https://[::1]/", "https://0/",
    "https://2130706433/", "https://0177.0.0.1/", "https://localhost/", "https://10.0.0.1/",
    "https://[::ffff:169.254.169.254]/", "https://example.com@127.0.0.1/", "file:///etc/passwd",
    "gopher://127.0.0.1/", "https://127.0.0.1#@example.com/", "https://127。0。0。1/",
    "https://①②⑦.0.0.1/", "//127.0.0.1/", "https://127.0.0.1\\@example.com/",
]  # fmt: skip
SECRETS = [
    "../x", "<victim>--webhook-key", "a--b", "tenant--<victim>--webhook-key", "x/versions/1", "A",
    "smtp-password/", "x\n", "x.y", "x_y", "-x", "x-", "", "é",
]  # fmt: skip
MAILS = [
    "a@example.com\r\nBcc: all@example.com", "a@example.com, b@example.com", "a@example.com;b@b.c",
    "<a@example.com>", '"a\r\nBcc: b"@example.com', "a@example.com\u2028Bcc: x", "a", "@", "",
    "a@b\x00.example.com", "a@exa mple.com", "A B <a@example.com>",
]  # fmt: skip
ATTEMPTS: dict[tuple[str, str], list[str]] = {
    ("checks", "table"): NAMES,
    ("checks", "other"): NAMES,
    ("checks", "column"): [*COLUMNS, *QUOTES[:6]],
    ("checks", "key"): COLUMNS,
    ("checks", "day"): COLUMNS,
    ("checks", "limit"): QUOTES[:6],
    ("checks", "text"): QUOTES,
    ("reconciles", "table"): NAMES,
    ("reconciles", "other"): NAMES,
    ("reconciles", "key"): COLUMNS,
    ("reconciles", "column"): COLUMNS,
    ("reconciles", "text"): QUOTES,
    ("promotes", "dataset_type"): PLACES,
    ("promotes", "target"): [*PLACES, *NAMES[:8]],
    ("searches", "costs"): NAMES,
    ("searches", "text"): QUOTES,
    ("searches", "dataset_type"): PLACES,
    ("searches", "target"): [*PLACES, *NAMES[:8]],
    ("foresees", "costs"): NAMES,
    ("tells", "url"): URLS,
    ("tells", "secret"): SECRETS,
    ("tells", "text"): QUOTES,
    ("says", "secret"): SECRETS,
    ("mails", "mail"): MAILS,
}
VALUES = {"text"}
"""Fields whose text is a value and nothing else: it may be anything, and stays what it is."""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A template for each kind of step, and a place for those of hostile authors."""
    texts = {name: template(step) for name, step in STEPS.items()}
    with templates(tmp_path / "configs", monkeypatch, **texts):
        yield tmp_path / "configs" / "gcp" / "test"


def template(step: dict[str, Any]) -> str:
    whole = {"variables": VARIABLES, "steps": [{"step_id": "act", **step}]}
    return yaml.safe_dump(whole, allow_unicode=True)


def attempt(world: World, name: str, variables: dict[str, Any]) -> StepResult | Exception:
    """What a run would do, or why it does not."""
    request = prepared.RunRequest(
        prepared.TemplatePath("gcp", "test", name), variables=variables, date=None
    )
    try:
        pipeline, run = prepared.prepare(request, world.profile)
        (step,) = pipeline.steps
        processor = registry.load(step.ps_type)
        config = processor.config_model.model_validate(fill(step.config, {}))
        context = a_context(run, "act", sources=pipeline.sources, max_bytes_billed=10**12)
        return processor.run(config, context)
    except (ConvergenceError, ValueError) as refusal:
        return refusal


def assert_nothing_leaked(world: World, found: StepResult | Exception) -> None:
    """Neither what is said nor what is recorded holds the secret; nothing of the victim's moved."""
    said = str(found) if isinstance(found, Exception) else json.dumps(dict(found.outputs))
    assert SECRET not in said
    assert world.secrets() == [("a", SECRET, 1), ("b", SECRET, 1), ("c", SECRET, 1)]
    recorded = bigquery_client().query_and_wait(
        f"SELECT COUNT(*) FROM `{world.attacker}.x_meta_dq_results_log` AS t"
        f" WHERE STRPOS(TO_JSON_STRING(t), '{SECRET}') > 0"
    )
    assert [row[0] for row in recorded] == [0]


def test_there_are_enough_attempts() -> None:
    assert sum(map(len, ATTEMPTS.values())) + len(FRAGMENTS) * 4 >= 400
    used = set(VARIABLES) & {
        name for step in STEPS.values() for name in VARIABLES if f"{{{name}}}" in json.dumps(step)
    }
    assert used == {field for _, field in ATTEMPTS}


@pytest.mark.parametrize(("name", "field"), ATTEMPTS)
def test_hostile_body_is_refused_or_bound(
    world: World, library: Path, name: str, field: str
) -> None:
    found: StepResult | Exception = StepResult()
    for value in ATTEMPTS[name, field]:
        fitted = world.fit(value)
        found = attempt(world, name, {field: fitted})

        # A table of one's own may have any name, another tenant's too.
        is_name = field == "target" and fitted.isascii() and fitted.isidentifier()
        is_harmless = field in VALUES or is_name
        assert isinstance(found, Permanent | ValueError) or is_harmless, (value, found)
    assert_nothing_leaked(world, found)


FRAGMENTS = [
    "n) IN (SELECT n FROM `<victim>.secrets`",
    "TRUE) OR EXISTS(SELECT 1 FROM `<victim>.secrets`",
    "EXISTS(SELECT 1 FROM `<victim>.secrets` WHERE secret LIKE 'T%')",
    "n = (SELECT MAX(n) FROM `<victim>.secrets`)",
    "IF((SELECT COUNT(*) FROM `<victim>.secrets`) > 0, ERROR('yes'), TRUE)",
    "TRUE) FROM `<victim>.secrets` --",
    "TRUE) FROM `<victim>.secrets` /*",
    "TRUE; DROP TABLE `<victim>.secrets`; SELECT (TRUE",
    "TRUE)) AS x FROM `<me>.mine`; DELETE FROM `<victim>.secrets` WHERE (TRUE",
    "EXISTS(SELECT 1 FROM `<me>.window`)",
    "EXISTS(SELECT 1 FROM `<me>_gcp_gold_trap.secrets`)",
    "EXISTS(SELECT 1 FROM `<victim>`.INFORMATION_SCHEMA.TABLES)",
    "EXISTS(SELECT 1 FROM EXTERNAL_QUERY('us.c', 'SELECT 1'))",
    "OBJ.GET_ACCESS_URL(OBJ.MAKE_REF('gs://x/y', 'us.c'), 'r') IS NULL",
    "EXISTS(SELECT 1 FROM `<victim>.secrets` FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP())",
    "EXISTS(SELECT 1 FROM `tenants.tenant_api_keys`)",
]


@pytest.mark.parametrize("kind", ["condition", "where", "sql", "control"])
def test_hostile_author_of_a_fragment_is_refused(world: World, library: Path, kind: str) -> None:
    for number, fragment in enumerate(FRAGMENTS):
        text = world.fit(fragment)
        rows = f"SELECT * FROM `{world.attacker}.mine` WHERE {text}"
        rule: dict[str, Any] = {"name": "a", "check": "condition", "condition": text}
        if kind == "where":
            rule = {"name": "a", "check": "row_count", "minimum": 0, "where": text}
        elif kind == "sql":
            rule = {"name": "a", "check": "sql", "query": rows}
        step = STEPS["checks"] | {"rules": [rule | {"severity": "warn"}]}
        if kind == "control":
            step = STEPS["reconciles"] | {"control": {"query": rows}}
        (library / f"author_{number}.yml").write_text(template(step), encoding="utf-8")
        prepared.library.cache_clear()
        try:
            found = attempt(world, f"author_{number}", {})
        except TemplateError as refusal:
            found = refusal

        assert isinstance(found, Permanent), (text, found)
        assert_nothing_leaked(world, found)


def test_the_same_steps_work_for_an_honest_tenant(world: World, library: Path) -> None:
    """So that what is refused above is not refused for another reason."""
    for name in ("checks", "searches", "foresees"):
        found = attempt(world, name, {})
        assert isinstance(found, StepResult), (name, found)
    found = attempt(world, "reconciles", {})
    assert "differs from its source" in str(found)
    assert not isinstance(found, InvalidInputError)
