"""A function may do what its code does, and nothing else: topology against source.

What the code does is read from it (tests/reachability.py): every call of a Google client that can
be reached from a function's entry point. Permissions of calls: BigQuery's "Roles and permissions"
and the "Required permissions" of each page. A job's creator may get and cancel it without one.
"""

import re
from functools import cache

import pytest

from infra import topology
from shared.processors import registry, tenant_secrets
from shared.settings import Settings
from tests import reachability
from tests.reachability import Symbol

TOPOLOGY = topology.load()
FUNCTIONS = sorted(TOPOLOGY.functions)
EXECUTORS = {name for name, f in TOPOLOGY.functions.items() if "STEP_FAMILY" in f.environment}

_LOAD = {"jobs.create", "tables.create", "tables.update", "tables.updateData"}
# Calls of the BigQuery client → permissions, without `bigquery.`.
BIGQUERY: dict[str, set[str]] = {
    "_http": _LOAD,  # the upload of a load job
    "cancel_job": {"jobs.update"},
    "copy_table": {"jobs.create", "tables.getData", "tables.create", "tables.updateData"},
    "create_dataset": {"datasets.create"},
    "create_table": {"tables.create"},
    "delete_dataset": {"datasets.delete", "tables.delete"},
    "get_dataset": {"datasets.get"},
    "get_job": {"jobs.get"},
    "get_table": {"tables.get"},
    "insert_rows_json": {"tables.updateData"},
    "job_from_resource": set(),
    "list_datasets": {"datasets.get"},
    "list_jobs": {"jobs.list"},
    "load_table_from_json": _LOAD,
    "location": set(),
    "project": set(),
    "query": {"jobs.create", "tables.getData"},
    "query_and_wait": {"jobs.create", "tables.getData"},
    "update_dataset": {"datasets.update"},
    "update_table": {"tables.update"},
}
OTHERS = {
    ("kms_client", "decrypt"),
    ("kms_client", "encrypt"),
    # Nobody may: readiness takes a refusal for the answer that it is (shared/engine/readiness.py).
    ("publisher_client", "get_topic"),
    ("publisher_client", "publish"),
    ("secret_manager_client", "access_secret_version"),
}

# Who sends spans to Google's endpoint (shared/exporters.py).
SPANS: Symbol = ("shared.exporters", "tracer")

# Modules that ask the registry for a processor, and what of it is called then: of the family that
# an executor serves, of one processor, or of every one. `shared/templates` reads models only.
ASKS: dict[str, tuple[str, str]] = {
    "shared.engine.cancel": ("*", "cancel"),
    "shared.engine.execute": ("family", ""),
    "shared.engine.explain": ("*", "foresee"),
    "shared.engine.onboarding": ("customer.onboarding", ""),
}


def _reached(name: str) -> set[Symbol]:
    """What a function's code can come to, processors included."""
    function = TOPOLOGY.functions[name]
    described = [f"functions.{folder}" for folder in function.includes]
    roots = [(function.source, function.entry_point)]
    found = reachability.reached(roots, described=described)
    for module, _ in reachability.callers("registry.load") & found:
        for ps_type in registry.PROCESSORS:
            which, method = ASKS.get(module, ("", ""))
            family = which == "family" and registry.family(ps_type)
            if which in ("*", ps_type) or family == function.environment.get("STEP_FAMILY", "?"):
                roots.append(reachability.processor(ps_type, method))
    return reachability.reached(roots, described=described)


@pytest.fixture(scope="module")
def reached() -> dict[str, set[Symbol]]:
    return {name: _reached(name) for name in FUNCTIONS}


def _granted(name: str) -> set[str]:
    """Permissions of a function's custom roles, wherever they hold."""
    account = TOPOLOGY.service_accounts[TOPOLOGY.functions[name].service_account]
    roles = {*account.roles, *(role for roles in account.datasets.values() for role in roles)}
    return {p for role in roles for p in TOPOLOGY.custom_roles[role].permissions}


def test_every_user_of_the_registry_is_known() -> None:
    callers = {module for module, _ in reachability.callers("registry.load")}
    assert {m for m in callers if not m.startswith("shared.templates.")} == set(ASKS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_permissions_are_what_the_code_needs(name: str, reached: dict[str, set[Symbol]]) -> None:
    used = {
        call for client, call in reachability.calls(reached[name]) if client == "bigquery_client"
    }
    assert used <= BIGQUERY.keys(), "say above which permissions the new calls need"
    if name in EXECUTORS:
        used.discard("cancel_job")  # they started what they cancel
    needed = {f"bigquery.{permission}" for call in used for permission in BIGQUERY[call]}
    if SPANS in reached[name]:
        needed.add("telemetry.traces.write")
    assert _granted(name) == needed


@pytest.mark.parametrize("name", FUNCTIONS)
def test_keys_secrets_and_topics_are_what_the_code_uses(
    name: str, reached: dict[str, set[Symbol]]
) -> None:
    function = TOPOLOGY.functions[name]
    calls = {
        (client, call)
        for client, call in reachability.calls(reached[name])
        if client in ("kms_client", "publisher_client", "secret_manager_client")
    }
    assert calls <= OTHERS, "say above what the new calls need"
    assert set(function.key_use) == {call for client, call in calls if client == "kms_client"}
    assert bool(function.publishes) == (("publisher_client", "publish") in calls)
    assert bool(function.secrets) == ("secret_manager_client" in {client for client, _ in calls})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_given_the_secrets_that_its_code_names(
    name: str, reached: dict[str, set[Symbol]]
) -> None:
    function = TOPOLOGY.functions[name]
    # An entry point lists what must be set; that is no use of it.
    code = {symbol for symbol in reached[name] if not symbol[0].endswith(".main")}
    named = reachability.mentions(code) & set(Settings.__dataclass_fields__)
    assert set(function.secrets) == {variable for variable in named if variable.endswith("_SECRET")}
    reads_tenants = ("shared.processors.tenant_secrets", "tenant_secret") in code
    assert function.secret_prefixes == ([tenant_secrets.PREFIX] if reads_tenants else [])
    # To decrypt, an envelope names its key.
    if "encrypt" in function.key_use:
        assert set(function.keys) == {
            variable for variable in named if variable.startswith("KMS_KEY")
        }


def test_no_secret_of_the_service_is_named_as_those_of_tenants() -> None:
    assert [name for name in TOPOLOGY.secrets if name.startswith(tenant_secrets.PREFIX)] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_publish_to_the_topics_that_its_code_publishes_to(
    name: str, reached: dict[str, set[Symbol]]
) -> None:
    topics = {topic for symbol in reached[name] for topic in _published(symbol)}
    assert set(TOPOLOGY.functions[name].publishes) == topics


@cache
def _published(symbol: Symbol) -> frozenset[str]:
    """The topics that the module of a publishing symbol names."""
    if ("publisher_client", "publish") not in reachability.calls([symbol]):
        return frozenset()
    named = reachability.mentions(reachability.reached([symbol]))
    topics = named & {topic for topic in TOPOLOGY.topics if not topic.startswith("step-")}
    if "STEP_TOPIC_PREFIX" in named:
        topics |= {topic for topic in TOPOLOGY.topics if topic.startswith("step-")}
    return frozenset(topics)


PRODUCT = [
    file
    for top in ("shared", "functions")
    for file in sorted((reachability.ROOT / top).rglob("*.py"))
    if file.relative_to(reachability.ROOT).as_posix() != "shared/clients.py"
]


def test_no_client_is_used_where_this_test_cannot_follow() -> None:
    found = {str(file): reachability.untraced(file.read_text(encoding="utf-8")) for file in PRODUCT}
    assert {file: problems for file, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    "code",
    [
        "from shared.clients import kms_client as k\ndef f(): k().decrypt()",
        "make = kms_client\ndef f(): make().decrypt()",
        "def f(): getattr(kms_client(), 'decrypt')()",
        "def f(): g(kms_client())",
        "def f():\n    client = kms_client()\n    g(client)",
        "def f():\n    client = kms_client()\n    other = client\n    other.decrypt()",
        "def f(): (client := kms_client()).decrypt()",
        "def f():\n    with kms_client() as client:\n        client.decrypt()",
        "def f(self):\n    self.client = clients.kms_client()",
        "def f(): return kms_client()",
        "def f():\n    client: Any = kms_client()\n    client.decrypt()",
        "CLIENT = bigquery_client()\ndef f(): CLIENT.delete_dataset()",
        "def f(): [kms_client][0]().decrypt()",
        "def f(): call = partial(bigquery_client)",
        "from google.cloud.bigquery import Client as C",
    ],
)
def test_ways_around_this_test_are_found(code: str) -> None:
    assert reachability.untraced(code) != []


@pytest.mark.parametrize(
    "code",
    [
        "def f(): kms_client().decrypt()",
        "def f():\n    client = clients.kms_client()\n    g(lambda: client.decrypt(), client.name)",
    ],
)
def test_uses_that_are_followed_pass(code: str) -> None:
    assert reachability.untraced(code) == []


def test_clients_are_made_where_this_test_looks() -> None:
    """Google's own, and whatever else calls Google in the function's name."""
    made = re.compile(
        r"\b(?:bigquery\.|storage\.)?[A-Za-z]*Client\(|\bauth\.default\(|discovery\.build"
    )
    found = {
        file.relative_to(reachability.ROOT).as_posix()
        for file in (*PRODUCT, reachability.ROOT / "shared" / "clients.py")
        if made.search(file.read_text(encoding="utf-8"))
    }
    assert found == {"shared/clients.py", "shared/exporters.py"}


def test_no_predefined_role_of_the_project_is_given() -> None:
    """They change without notice, and hold more than is needed."""
    for account in TOPOLOGY.service_accounts.values():
        assert {*account.roles} <= TOPOLOGY.custom_roles.keys()


def test_every_custom_role_is_given_to_somebody() -> None:
    given = {
        role
        for account in TOPOLOGY.service_accounts.values()
        for role in (*account.roles, *(r for roles in account.datasets.values() for r in roles))
    }
    assert given == TOPOLOGY.custom_roles.keys()
