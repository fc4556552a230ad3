"""What a template offers, as its author wrote it."""

from pathlib import Path

import pytest

from shared.templates.catalog import Offer, offer
from shared.templates.loader import TemplateLibrary

VALID = Path(__file__).parents[3] / "data" / "templates" / "valid"


@pytest.fixture(scope="module")
def everything() -> Offer:
    return offer(TemplateLibrary(VALID).named("gcp/compute/everything"))


def test_declared_variables_show_type_default_choices_and_purpose(everything: Offer) -> None:
    variables = {variable.name: variable for variable in everything.variables}

    assert variables["region"].choices == ["us-east1", "europe-west1"]
    assert (variables["owner"].type, variables["owner"].required) == ("email", True)
    assert variables["owner"].default is None
    assert variables["owner"].description == "Who is told"
    assert (variables["machine_types"].type, variables["machine_types"].items) == ("list", "string")
    assert variables["machine_types"].default == ["n2", "e2"]
    assert variables["share"].default == 0.25


def test_defaults_that_refer_to_variables_show_the_reference(everything: Offer) -> None:
    start = next(variable for variable in everything.variables if variable.name == "start")

    assert (start.type, start.default) == ("date", "{date}")


def test_description_keeps_its_placeholders(everything: Offer) -> None:
    assert everything.description == "Virtual machines of {tenant_id}"


def test_inherited_variables_say_where_they_come_from() -> None:
    found = offer(TemplateLibrary(VALID).named("gcp/cost/billing"))

    assert {variable.origin for variable in found.variables} == {
        "inherited from valid/gcp/cost/cost_billing.yml"
    }


@pytest.mark.parametrize("name", TemplateLibrary(Path("configs")).names())
def test_every_template_of_the_deployment_can_be_offered(name: str) -> None:
    found = offer(TemplateLibrary(Path("configs")).named(name))

    assert found.template == name
    assert found.steps
    assert "{tenant_id}" in found.description
