"""The topology speaks of sources, entry points and variables that the product has."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from functions.api import all_routes as api_routes
from functions.scheduler import all_routes as scheduler_routes
from infra.local.gateway.routing import RoutingTable
from infra.topology import load
from shared.http.routes import Route
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
TOPOLOGY = load()


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
        *TOPOLOGY.deployment_environment,
        *function.local.environment,
        *TOPOLOGY.local.inherited_environment,
    }
    assert given - {field.name for field in fields(Settings)} == set()


@pytest.mark.parametrize(
    ("function", "route"),
    [("api", route) for route in api_routes.ROUTES]
    + [("scheduler", route) for route in scheduler_routes.ROUTES],
    ids=lambda given: given if isinstance(given, str) else f"{given.method} {given.path}",
)
def test_the_gateway_hands_each_route_to_the_function_that_has_it(
    function: str, route: Route
) -> None:
    match = RoutingTable(TOPOLOGY.routes).match(route.method, re.sub(r"[{}]", "", route.path))

    assert match
    assert match.function == function
