"""The direction of imports, and the few things that only one file may do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("functions/**/*.py")])


def test_import_contracts_of_the_project_hold() -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert ran.returncode == 0, ran.stdout
    assert " 0 broken" in ran.stdout


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _importers_of(module: str) -> list[str]:
    return [
        file.relative_to(ROOT).as_posix()
        for file in PRODUCT
        if any(name == module or name.startswith(f"{module}.") for name in _imports(file))
    ]


def test_modules_are_imported_by_name_in_the_registry_only() -> None:
    found = [
        file.relative_to(ROOT).as_posix()
        for file in PRODUCT
        if "import_module" in file.read_text("utf-8")
    ]

    assert found == ["shared/processors/registry.py"]


def test_environment_is_read_in_the_settings_only() -> None:
    readers = [
        file.relative_to(ROOT).as_posix()
        for file in PRODUCT
        if "os.environ" in file.read_text("utf-8") or "getenv" in file.read_text("utf-8")
    ]

    assert readers == ["shared/settings.py"]


@pytest.mark.parametrize("module", ["infra", "tests", "pytest", "duckdb", "sqlglot"])
def test_product_imports_neither_the_local_cloud_nor_its_libraries(module: str) -> None:
    assert _importers_of(module) == []


@pytest.mark.parametrize(
    "module", ["google.cloud.pubsub_v1", "google.cloud.kms_v1", "google.cloud.secretmanager_v1"]
)
def test_clients_are_made_in_one_file(module: str) -> None:
    assert _importers_of(module) == ["shared/clients.py"]


def test_product_changes_no_row_outside_of_a_tenants_own_data() -> None:
    """Logs are append-only: no statement of the product updates, deletes or merges.

    The one that merges writes a tenant's own table, as a template of the tenant says; the one that
    updates overwrites secrets that nobody may open any more (docs/adr/0009).
    """
    statements = ("UPDATE `", "DELETE FROM", "MERGE INTO", "MERGE `", "TRUNCATE TABLE")
    allowed = {
        "shared/tenancy/credential_erasure.py: UPDATE `",
        "shared/warehouse/merges.py: MERGE `",
    }

    found = [
        f"{file.relative_to(ROOT).as_posix()}: {statement}"
        for file in [*PRODUCT, *ROOT.glob("schemas/**/*.sql")]
        for statement in statements
        if statement in file.read_text("utf-8")
    ]

    assert [statement for statement in found if statement not in allowed] == []
