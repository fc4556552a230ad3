"""The grammar that keeps tenants apart: no dataset name may be readable as two tenants'."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.tenancy.names import (
    RESERVED_TENANT_IDS,
    check_table_name,
    check_tenant_id,
    dataset_name,
    tenant_id_problem,
)

WORDS = ["a", "acme", "corp", "gcp", "aws", "azure", "bronze", "silver", "gold", "cost", "x1", ""]
"""Parts that make collisions likely: random letters would never hit one."""
tenant_ids = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map("_".join)
dataset_types = st.none() | st.builds(
    lambda provider, layer, words: "_".join([provider, layer, *words]),
    st.sampled_from(["gcp", "aws", "azure"]),
    st.sampled_from(["bronze", "silver", "gold"]),
    st.lists(st.sampled_from([w for w in WORDS if w]), min_size=1, max_size=5),
)


@given(tenant_ids, dataset_types, tenant_ids, dataset_types)
@example("acme", "gcp_silver_aws_gold_x", "acme_gcp_silver", "aws_gold_x")
@example("acme", "gcp_silver_cost", "acme_gcp_silver_cost", None)
@example("acme", "gcp_silver_cost_gcp_gold_x", "acme_gcp_silver_cost", "gcp_gold_x")
@example("acme", None, "acme_", None)
def test_two_tenants_never_share_a_dataset_name(
    one: str, ones_type: str | None, other: str, others_type: str | None
) -> None:
    assume(one != other)
    assume(tenant_id_problem(one) is None and tenant_id_problem(other) is None)

    assert dataset_name(one, ones_type) != dataset_name(other, others_type)


@given(tenant_ids, dataset_types)
def test_dataset_of_a_type_is_never_a_dataset_of_the_service(
    tenant_id: str, dataset_type: str | None
) -> None:
    assume(tenant_id_problem(tenant_id) is None)

    assert dataset_name(tenant_id, dataset_type) not in RESERVED_TENANT_IDS


@pytest.mark.parametrize(
    "tenant_id", ["acme", "acme_corp", "a1b", "acme__corp", "gcp_customer", "silver_gcp", "a" * 50]
)
def test_good_tenant_ids_are_taken(tenant_id: str) -> None:
    assert check_tenant_id(tenant_id) == tenant_id


@pytest.mark.parametrize(
    "tenant_id",
    [
        "",
        "ab",
        "a" * 51,
        "Acme",
        "1acme",
        "_acme",
        "acme-corp",
        "acme.corp",
        "acme corp",
        "acme`",
        "acme'",
        "acmé",
        "acme\n",
        "acme\x00",
        "\uff41\uff43\uff4d\uff45",
    ],
)
def test_malformed_tenant_ids_are_refused_with_an_example(tenant_id: str) -> None:
    with pytest.raises(InvalidInputError, match="such as acme_corp") as caught:
        check_tenant_id(tenant_id)

    assert caught.value.problems[0].pointer == "/tenant_id"
    assert caught.value.problems[0].value == tenant_id


@pytest.mark.parametrize("tenant_id", sorted(RESERVED_TENANT_IDS))
def test_datasets_of_the_service_are_no_tenants(tenant_id: str) -> None:
    assert "reserved" in str(tenant_id_problem(tenant_id))


@pytest.mark.parametrize(
    "tenant_id",
    [
        "acme_gcp_silver_cost",
        "gcp_silver_cost",
        "acme_aws_gold_a_b",
        "acme_gcp_silver",
        "acme_gcp_silver_",
        "gcp_bronze",
    ],
)
def test_tenant_ids_that_hold_the_beginning_of_a_dataset_type_are_refused(tenant_id: str) -> None:
    assert "dataset type" in str(tenant_id_problem(tenant_id))


@pytest.mark.parametrize(
    "dataset_type",
    [
        "",
        "silver",
        "gcp_silver",
        "gcp_silver_",
        "gcp_silver__x",
        "gcp_platinum_x",
        "ibm_silver_x",
        "GCP_SILVER_X",
        "gcp_silver_x\n",
        "gcp_silver_x; DROP",
        "corp_gcp_silver_x",
    ],
)
def test_malformed_dataset_types_are_refused(dataset_type: str) -> None:
    with pytest.raises(InvalidInputError, match="gcp_silver_cost") as caught:
        dataset_name("acme", dataset_type)

    assert caught.value.problems[0].pointer == "/dataset_type"


@pytest.mark.parametrize("table", ["billing_cost_daily", "T", "a" * 128])
def test_good_table_names_are_taken(table: str) -> None:
    assert check_table_name(table) == table


@pytest.mark.parametrize(
    "table",
    [
        "",
        "1a",
        "a-b",
        "a$20251115",
        "a.b",
        "a`",
        "a\n",
        "_a",
        "a" * 129,
        "x_meta_step_logs_log",
        "X_META_x",
    ],
)
def test_tables_of_the_engine_and_malformed_names_are_refused(table: str) -> None:
    with pytest.raises(InvalidInputError):
        check_table_name(table)
