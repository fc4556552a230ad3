"""The topology speaks of sources, entry points and variables that the product has."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from infra.topology import load
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
TOPOLOGY = load()
# Tells operators which family a deployment serves; the message says it to the code.
FOR_PEOPLE = {"STEP_FAMILY"}


@pytest.mark.parametrize("name", sorted(TOPOLOGY.functions))
def test_each_source_defines_its_entry_point(name: str) -> None:
    function = TOPOLOGY.functions[name]
    file = ROOT / (function.source.replace(".", "/") + ".py")
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    assert function.entry_point in names


@pytest.mark.parametrize("name", sorted(TOPOLOGY.functions))
def test_each_variable_is_a_setting_of_the_product(name: str) -> None:
    function = TOPOLOGY.functions[name]
    given = {
        *TOPOLOGY.function_environment(name, "p"),
        *function.deployment_environment,
        *function.local.environment,
        *TOPOLOGY.local.inherited_environment,
    }
    assert given - {field.name for field in fields(Settings)} - FOR_PEOPLE == set()
