"""Which columns of a table hold anything: NULL costs nothing to read, so this is cheap to ask."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.warehouse import rows
from shared.warehouse.queries import query


def holding_values(table: str, columns: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The names of those columns that are not NULL, or not empty, in some row.

    Args:
        table: `project.dataset.table`, a name of ours.
        columns: of the table, as BigQuery's API has them.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    if not columns:
        return frozenset()
    tests = ", ".join(f"LOGICAL_OR({_has_value(c)}) AS c{n}" for n, c in enumerate(columns))
    (found,) = rows.read(query(f"SELECT {tests} FROM `{table}`"))  # noqa: S608 - names of the table
    return frozenset(str(c["name"]) for n, c in enumerate(columns) if found[f"c{n}"])


def _has_value(column: Mapping[str, Any]) -> str:
    name = f"`{column['name']}`"
    if column.get("mode") == "REPEATED":
        return f"ARRAY_LENGTH({name}) > 0"
    return f"{name} IS NOT NULL"
