"""A table's REST resource: building it, reading it from a request, what may change in it."""

from dataclasses import replace
from typing import Any

from infra.local.bigquery.api import PREFIX
from infra.local.bigquery.catalog import Dataset, Table, TableRef, now_ms
from infra.local.bigquery.datasets import etag_of, merged
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.names import check_labels
from infra.local.bigquery.schemas import by_name, canonical_schema, changed_schema

PARTITIONING_TYPES = ("HOUR", "DAY", "MONTH", "YEAR")
_PARTITIONING_COLUMNS = frozenset({"DATE", "TIMESTAMP", "DATETIME"})
_CLUSTERING_COLUMNS = frozenset(
    {
        "STRING",
        "BYTES",
        "INTEGER",
        "NUMERIC",
        "BIGNUMERIC",
        "BOOLEAN",
        "DATE",
        "DATETIME",
        "TIMESTAMP",
        "GEOGRAPHY",
    }
)
_KEPT = frozenset(
    {
        "description",
        "friendlyName",
        "labels",
        "requirePartitionFilter",
        "rangePartitioning",
        "tableConstraints",
        "defaultCollation",
        "encryptionConfiguration",
        "resourceTags",
        "maxStaleness",
    }
)
_UNSUPPORTED = {
    "materializedView": "materialized views",
    "externalDataConfiguration": "external tables",
    "snapshotDefinition": "table snapshots",
    "cloneDefinition": "table clones",
}


def table_resource(
    table: Table,
    dataset: Dataset,
    base_url: str,
    *,
    modified: int,
    rows: int,
    size: int,
    buffer: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The Table resource of the REST API.

    `rows` and `size` (bytes) describe its contents, `buffer` its rows that were just streamed.
    """
    resource: dict[str, Any] = {
        "kind": "bigquery#table",
        "etag": table_etag(table),
        "id": str(table.ref),
        "selfLink": (
            f"{base_url}{PREFIX}/projects/{table.ref.project}/datasets/{table.ref.dataset}"
            f"/tables/{table.ref.table}"
        ),
        "tableReference": table.ref.to_api(),
        "type": table.kind,
        "location": dataset.location,
        "creationTime": str(table.created),
        "lastModifiedTime": str(max(table.modified, modified)),
        **table.body,
    }
    if buffer is not None:
        resource["streamingBuffer"] = buffer
    if table.schema or table.is_view:
        resource["schema"] = {"fields": table.schema}
    if table.is_view:
        resource["view"] = {"query": table.view_query, "useLegacySql": False}
    else:
        resource |= {
            "numRows": str(rows),
            "numBytes": str(size),
            "numLongTermBytes": "0",
            "numTotalLogicalBytes": str(size),
            "numActiveLogicalBytes": str(size),
        }
    resource |= _optional(table)
    return resource


def table_etag(table: Table) -> str:
    """Changes with the table's metadata."""
    return etag_of(
        str(table.ref), table.modified, table.schema, table.body, table.view_query, table.expires
    )


def _optional(table: Table) -> dict[str, Any]:
    optional: dict[str, Any] = {}
    if table.time_partitioning is not None:
        optional["timePartitioning"] = table.time_partitioning
    if table.clustering is not None:
        optional["clustering"] = table.clustering
    if table.expires is not None:
        optional["expirationTime"] = str(table.expires)
    return optional


def table_item(table: Table) -> dict[str, Any]:
    """The short form of `tables.list`."""
    item = {
        "kind": "bigquery#table",
        "id": str(table.ref),
        "tableReference": table.ref.to_api(),
        "type": table.kind,
        "creationTime": str(table.created),
        **_optional(table),
    }
    item.update({k: table.body[k] for k in ("labels", "friendlyName") if k in table.body})
    if table.is_view:
        item["view"] = {"useLegacySql": False}
    return item


def table_from_resource(ref: TableRef, resource: dict[str, Any], physical: str) -> Table:
    """A new table or view; a view's schema is left to the caller, who knows its query.

    Raises:
        ApiError: 400 invalid.
    """
    for key, words in _UNSUPPORTED.items():
        if resource.get(key):
            raise ApiError.not_implemented(f"The local BigQuery has no {words} ({key})")
    now = now_ms()
    schema = canonical_schema((resource.get("schema") or {}).get("fields") or [])
    view = resource.get("view")
    table = Table(
        ref=ref,
        kind="VIEW" if view else "TABLE",
        schema=schema,
        physical="" if view else physical,
        created=now,
        modified=now,
        view_query=_view_query(view) if view else None,
        time_partitioning=checked_partitioning(resource.get("timePartitioning"), schema),
        clustering=checked_clustering(resource.get("clustering"), schema),
        expires=_expiration(resource.get("expirationTime")),
        body=_kept(resource),
    )
    if table.is_view and (table.time_partitioning or table.clustering):
        raise ApiError.invalid("A view cannot be partitioned or clustered")
    return table


def _kept(resource: dict[str, Any]) -> dict[str, Any]:
    body = {key: value for key, value in resource.items() if key in _KEPT and value is not None}
    if "labels" in body:
        check_labels(body["labels"])
    return body


def _view_query(view: dict[str, Any]) -> str:
    query = view.get("query")
    if not query:
        raise ApiError.required("view.query")
    if view.get("useLegacySql", True):
        raise ApiError.not_implemented(
            "The local BigQuery has no legacy SQL: set view.useLegacySql to false"
        )
    return str(query)


def _expiration(value: Any) -> int | None:
    if value is None:
        return None
    try:
        expires = int(value)
    except (TypeError, ValueError) as error:
        raise ApiError.invalid(f"Invalid value for expirationTime: {value}") from error
    if expires <= now_ms():
        raise ApiError.invalid(
            f"Invalid value for expirationTime: {value}. It must be in the future."
        )
    return expires


def checked_partitioning(
    spec: dict[str, Any] | None, schema: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The partitioning in canonical form, None without.

    Raises:
        ApiError: 400 invalid for an unknown type or an unfit column.
    """
    if spec is None:
        return None
    kind = str(spec.get("type") or "DAY").upper()
    if kind not in PARTITIONING_TYPES:
        raise ApiError.invalid(f"Invalid value for timePartitioning.type: {spec.get('type')}")
    canonical = {key: value for key, value in spec.items() if value is not None} | {"type": kind}
    name = canonical.get("field")
    if not name:
        canonical.pop("field", None)
        return canonical
    column = by_name(schema).get(name.casefold())
    if column is None:
        raise ApiError.invalid(
            f"The field specified for partitioning cannot be found in the schema: {name}"
        )
    if column["type"] not in _PARTITIONING_COLUMNS or column["mode"] == "REPEATED":
        raise ApiError.invalid(
            f"The field specified for time partitioning can only be of type TIMESTAMP, DATE or"
            f" DATETIME. The type found is: {column['type']}."
        )
    return canonical | {"field": column["name"]}


def checked_clustering(
    spec: dict[str, Any] | None, schema: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The clustering, None without.

    Raises:
        ApiError: 400 invalid for more than four columns, unknown or unfit ones.
    """
    names = (spec or {}).get("fields") or []
    if not names:
        return None
    if len(names) > 4:
        raise ApiError.invalid("Too many clustering fields: at most 4 are allowed")
    columns = by_name(schema)
    for name in names:
        column = columns.get(name.casefold())
        if column is None:
            raise ApiError.invalid(
                f"The field specified for clustering cannot be found in the schema: {name}"
            )
        if column["type"] not in _CLUSTERING_COLUMNS or column["mode"] == "REPEATED":
            raise ApiError.invalid(f"Field {name} cannot be used for clustering")
    return {"fields": list(names)}


def changed_table(table: Table, resource: dict[str, Any], *, patch: bool) -> Table:
    """The table after `tables.patch` or `tables.update`.

    Raises:
        ApiError: 400 invalid for a change that BigQuery refuses.
    """
    if "view" in resource and not table.is_view and resource["view"]:
        raise ApiError.invalid(f"Cannot change table {table.ref} into a view")
    changed = replace(
        table,
        schema=_changed_schema(table, resource),
        time_partitioning=_changed_partitioning(table, resource, patch=patch),
        expires=_changed_expiration(table, resource, patch=patch),
        body=_changed_body(table, resource, patch=patch),
        modified=now_ms(),
    )
    if "clustering" in resource:
        clustering = checked_clustering(resource["clustering"], changed.schema)
        changed = replace(changed, clustering=clustering)
    if table.is_view and resource.get("view"):
        view = {"query": table.view_query, "useLegacySql": False} | resource["view"]
        changed = replace(changed, view_query=_view_query(view))
    return changed


def _changed_schema(table: Table, resource: dict[str, Any]) -> list[dict[str, Any]]:
    given = (resource.get("schema") or {}).get("fields")
    if given is None:
        return table.schema
    fields = canonical_schema(given)
    return changed_schema(table.schema, fields, str(table.ref))


def _changed_partitioning(
    table: Table, resource: dict[str, Any], *, patch: bool
) -> dict[str, Any] | None:
    current = table.time_partitioning
    given = resource.get("timePartitioning")
    if given is None:
        return current
    if current is None:
        raise ApiError.invalid("Cannot convert non partitioned table to partitioned table.")
    wanted = merged(current, given) if patch else dict(given)
    fixed = ("type", "field")
    if any(wanted.get(key) != current.get(key) for key in fixed):
        raise ApiError.invalid("Cannot change partitioning spec for a partitioned table.")
    return {key: value for key, value in wanted.items() if value is not None}


def _changed_expiration(table: Table, resource: dict[str, Any], *, patch: bool) -> int | None:
    if "expirationTime" not in resource:
        return table.expires if patch else None
    value = resource["expirationTime"]
    if value is not None and str(value) == str(table.expires):
        return table.expires
    return _expiration(value)


def _changed_body(table: Table, resource: dict[str, Any], *, patch: bool) -> dict[str, Any]:
    given = {key: value for key, value in resource.items() if key in _KEPT}
    return _kept(merged(table.body, given) if patch else given)
