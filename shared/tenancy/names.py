"""The grammar of tenant IDs and dataset names, which makes ownership readable from a name.

A tenant's datasets are `{tenant_id}` and `{tenant_id}_{dataset_type}`. A tenant ID may not itself
hold the beginning of a dataset type, so no two tenants can ever mean the same dataset: `acme`
cannot reach into `acme_corp`, and there is no `acme_gcp_silver` whose `aws_gold_x` would be the
`gcp_silver_aws_gold_x` of `acme`.
"""

import re

from shared.errors import FieldProblem, InvalidInputError

TENANT_ID_PATTERN = r"^[a-z][a-z0-9_]{2,49}$"
DATASET_TYPE_PATTERN = r"^(gcp|aws|azure)_(bronze|silver|gold)_[a-z0-9]+(_[a-z0-9]+)*$"
TABLE_NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,127}$"
RESERVED_TENANT_IDS = frozenset(
    {
        *("tenants", "customers", "billing_export", "admin", "system"),
        *("information_schema", "region_us"),
        "onboard",
    }
)
"""Datasets of the service itself, words that BigQuery reads differently, and a path's last word."""

_TENANT_ID = re.compile(TENANT_ID_PATTERN)
_DATASET_TYPE = re.compile(DATASET_TYPE_PATTERN)
_HOLDS_A_TYPE = re.compile(r"(^|_)(gcp|aws|azure)_(bronze|silver|gold)(_|$)")
_TABLE = re.compile(TABLE_NAME_PATTERN)


def tenant_id_problem(tenant_id: str) -> str | None:
    """What is wrong with `tenant_id` and how to mend it; None when it is a good one."""
    if not _TENANT_ID.fullmatch(tenant_id):
        return (
            "must be 3 to 50 characters: a lower-case letter, then lower-case letters, digits and"
            " underscores, such as acme_corp"
        )
    if tenant_id in RESERVED_TENANT_IDS:
        return f"is reserved; choose another, such as {tenant_id}_corp"
    if _HOLDS_A_TYPE.search(tenant_id):
        return (
            "must not hold the beginning of a dataset type (gcp_silver): datasets of two tenants"
            " could then have one name"
        )
    return None


def check_tenant_id(tenant_id: str, pointer: str = "/tenant_id") -> str:
    """`tenant_id`, if it is one.

    Raises:
        InvalidInputError: it is not; says why.
    """
    problem = tenant_id_problem(tenant_id)
    if problem:
        raise InvalidInputError([FieldProblem(pointer, problem, tenant_id)])
    return tenant_id


def dataset_name(tenant_id: str, dataset_type: str | None) -> str:
    """The tenant's dataset for `dataset_type`, its own metadata dataset for None.

    Raises:
        InvalidInputError: `dataset_type` is not one.
    """
    if dataset_type is None:
        return tenant_id
    if not _DATASET_TYPE.fullmatch(dataset_type):
        raise InvalidInputError(
            [
                FieldProblem(
                    "/dataset_type",
                    "must be {gcp|aws|azure}_{bronze|silver|gold}_{word}, such as gcp_silver_cost",
                    dataset_type,
                )
            ]
        )
    return f"{tenant_id}_{dataset_type}"


def check_table_name(table: str) -> str:
    """`table`, if a pipeline may write a table of this name.

    Raises:
        InvalidInputError: it may not; metadata tables are the engine's own.
    """
    if not _TABLE.fullmatch(table) or table.lower().startswith("x_meta_"):
        raise InvalidInputError(
            [
                FieldProblem(
                    "/table",
                    "must be a letter followed by letters, digits and underscores, and must not"
                    " begin with x_meta_",
                    table,
                )
            ]
        )
    return table
