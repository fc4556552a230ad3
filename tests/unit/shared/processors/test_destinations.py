from typing import Any

import pytest
from pydantic import ValidationError

from shared.processors.gcp.destinations import BigQueryConfig, target
from tests.runs import a_context, a_run


def config(**destination: Any) -> BigQueryConfig:
    return BigQueryConfig.model_validate(
        {"source": {"query": {"sql": "SELECT 1"}}, "destination": {"table": "costs"} | destination}
    )


def test_table_without_a_dataset_type_lies_in_the_tenants_own_dataset() -> None:
    where = target(config(), a_context(a_run("acme_corp")))

    assert where.path == "convergence-unit.acme_corp.costs"


def test_dataset_type_follows_the_tenant_id() -> None:
    where = target(config(dataset_type="gcp_silver_cost"), a_context(a_run("acme_corp")))

    assert where.path == "convergence-unit.acme_corp_gcp_silver_cost.costs"


@pytest.mark.parametrize(
    "destination",
    [
        {"table": "x_meta_step_logs_log"},
        {"table": "other_tenant.costs"},
        {"table": "costs$20251115"},
        {"dataset_type": "../tenants"},
        {"dataset_type": ""},
    ],
)
def test_write_outside_of_the_tenants_own_data_tables_is_refused(
    destination: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError, match="must be"):
        config(**destination)


@pytest.mark.parametrize(
    "destination", [{"write": "merge"}, {"project": "another"}, {"dataset": "another"}]
)
def test_destination_takes_no_other_way_to_say_where(destination: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**destination)


def test_labels_name_the_run_and_stay_within_bigquerys_rules() -> None:
    run = a_run("a" * 50, template_name="t" * 80)

    labels = a_context(run, "s" * 64).job_labels

    assert labels["tenant_id"] == "a" * 50
    assert labels["pipeline_logging_id"] == run.pipeline_logging_id
    for value in labels.values():
        assert 0 < len(value) <= 63
        assert value == value.lower()


def test_label_of_a_template_without_a_domain_has_no_gap() -> None:
    run = a_run(provider="customer", domain="", template_name="onboarding")

    assert a_context(run).job_labels["template"] == "customer-onboarding"
