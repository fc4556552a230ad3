import subprocess
import sys

import pytest

from shared.processors import registry


def test_alias_is_the_processor_that_it_names() -> None:
    assert registry.load("gcp.bq_etl").ps_type == "gcp.bigquery_to_bigquery"
    assert registry.canonical("notify_systems.email_notification") == "shared.email_notification"


@pytest.mark.parametrize(
    ("ps_type", "family"),
    [
        ("gcp.bigquery_to_bigquery", "gcp"),
        ("gcp.bq_etl", "gcp"),
        ("customer.onboarding", "customer"),
        ("notify_systems.email_notification", "shared"),
        ("anomaly.cost_spike", "gcp"),
    ],
)
def test_family_is_that_of_the_processor_not_of_its_alias(ps_type: str, family: str) -> None:
    assert registry.family(ps_type) == family


def test_unknown_type_names_its_neighbours() -> None:
    with pytest.raises(registry.UnknownProcessorError) as caught:
        registry.load("gcp.bigquery_to_bigqery")

    assert caught.value.near[0] == "gcp.bigquery_to_bigquery"
    assert "did you mean gcp.bigquery_to_bigquery" in str(caught.value)


@pytest.mark.parametrize("ps_type", ["", "gcp", "os.system", "shared.processors.registry:load"])
def test_only_registered_names_are_imported(ps_type: str) -> None:
    with pytest.raises(registry.UnknownProcessorError):
        registry.load(ps_type)


def test_loading_one_type_imports_no_other() -> None:
    script = (
        "import sys; from shared.processors import registry;"
        "registry.load('shared.email_notification');"
        "print([m for m in sys.modules if m.startswith('shared.processors.gcp')])"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout

    assert output.strip() == "[]"
