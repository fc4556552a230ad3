"""Fields that name a table of the tenant's own; bad names are refused when a template loads."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from shared.errors import InvalidInputError
from shared.tenancy.names import (
    DATASET_TYPE_PATTERN,
    TABLE_NAME_PATTERN,
    check_table_name,
    dataset_name,
)


def _refusing(check: Callable[[str], object]) -> Callable[[str], str]:
    """`check` as a validator: its sentence, without the place that pydantic knows better."""

    def checked(value: str) -> str:
        try:
            check(value)
        except InvalidInputError as error:
            raise ValueError(error.problems[0].problem) from None
        return value

    return checked


DatasetType = Annotated[
    str,
    AfterValidator(_refusing(lambda value: dataset_name("tenant", value))),
    WithJsonSchema({"type": "string", "pattern": DATASET_TYPE_PATTERN}),
]
"""`gcp_silver_cost`: the dataset `{tenant_id}_gcp_silver_cost`."""

WrittenTable = Annotated[
    str,
    AfterValidator(_refusing(check_table_name)),
    WithJsonSchema({"type": "string", "pattern": TABLE_NAME_PATTERN}),
]
"""Name of a table that a pipeline may write."""
