"""Datasets, tables and views as the schema files say: created, or brought up to date.

Everything here may be called again and concurrently: what is there is compared and completed, and
losing a race to another caller counts as success.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from shared.clients import bigquery_client
from shared.errors import AccessDeniedError
from shared.settings import settings
from shared.warehouse.drift import Difference, DriftError, difference
from shared.warehouse.failures import from_exception
from shared.warehouse.schemas import Column, Relation, TableSchema, ViewSchema

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField, Table

_TIMEOUT_SECONDS = 30.0
_DAY_MS = 24 * 60 * 60 * 1000
OWNER_LABEL = "tenant_id"
"""Label of a tenant's datasets; whose value it is owns the dataset."""

T = TypeVar("T")


class Action(StrEnum):
    """What is to be done, or was done, to one dataset, table or view."""

    CREATE = "create"
    ADD_COLUMNS = "add columns"
    UPDATE = "update"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Change:
    """One line of a plan."""

    name: str
    action: Action
    details: tuple[str, ...] = ()
    """The columns to add, or what is brought up to date."""


class DatasetOwnerError(AccessDeniedError):
    """A dataset of this name exists and is not labelled as the tenant's."""

    code = "foreign-dataset"

    def __init__(self, dataset: str, tenant_id: str, owner: str | None) -> None:
        self.dataset = dataset
        self.tenant_id = tenant_id
        self.owner = owner
        belongs = f"belongs to {owner}" if owner else "carries no tenant_id label"
        super().__init__(f"Dataset {dataset} exists and {belongs}; {tenant_id} may not use it.")


def dataset_labels(dataset: str) -> dict[str, str] | None:
    """The labels of a dataset, None when there is no such dataset."""
    found = _find(lambda: bigquery_client().get_dataset(dataset, **_limits()))
    return None if found is None else dict(found.labels)


def ensure_dataset(dataset: str, *, labels: Mapping[str, str], description: str = "") -> Change:
    """Create the dataset in the settings' location, or add the labels it lacks.

    With `tenant_id` among `labels`, an existing dataset must carry the same value already.

    Raises:
        DatasetOwnerError: the dataset exists and is somebody else's.
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    from google.api_core.exceptions import Conflict
    from google.cloud.bigquery import Dataset

    change = plan_dataset(dataset, labels=labels)
    if change.action is Action.UNCHANGED:
        return change
    client = bigquery_client()
    if change.action is Action.CREATE:
        wanted = Dataset(f"{client.project}.{dataset}")
        wanted.location = settings().BIGQUERY_LOCATION
        wanted.labels = dict(labels)
        wanted.description = description or None
        try:
            _call(lambda: client.create_dataset(wanted, **_limits()))
        except Conflict:
            return plan_dataset(dataset, labels=labels)
        return change
    existing = _call(lambda: client.get_dataset(dataset, **_limits()))
    existing.labels = {**existing.labels, **labels}
    _call(lambda: client.update_dataset(existing, ["labels"], **_limits()))
    return change


def plan_dataset(dataset: str, *, labels: Mapping[str, str]) -> Change:
    """What `ensure_dataset` would do; changes nothing.

    Raises:
        DatasetOwnerError: the dataset exists and is somebody else's.
    """
    present = dataset_labels(dataset)
    if present is None:
        return Change(dataset, Action.CREATE)
    wanted_owner = labels.get(OWNER_LABEL)
    if wanted_owner and present.get(OWNER_LABEL) != wanted_owner:
        raise DatasetOwnerError(dataset, wanted_owner, present.get(OWNER_LABEL))
    missing = tuple(f"label {key}" for key in labels if present.get(key) != labels[key])
    return Change(dataset, Action.UPDATE if missing else Action.UNCHANGED, missing)


def plan(dataset: str, relations: Iterable[Relation]) -> list[Change]:
    """What `ensure` would do; changes nothing.

    Raises:
        DriftError: something differs in ways that are not additions; names all of it.
    """
    changes: list[Change] = []
    problems: list[str] = []
    for relation in relations:
        path = f"{dataset}.{relation.name}"
        try:
            changes.append(_planned(path, relation, _existing(path)))
        except DriftError as error:
            problems += error.problems
    if problems:
        raise DriftError(problems)
    return changes


def ensure(dataset: str, relations: Iterable[Relation]) -> list[Change]:
    """Create or complete `relations` in their order; the dataset must exist.

    Raises:
        DriftError: something differs in ways that are not additions; what came before it is done.
        WarehouseBusyError: not now; call again.
        WarehouseError: BigQuery refused.
    """
    return [ensure_relation(dataset, relation) for relation in relations]


def ensure_relation(
    dataset: str, relation: Relation, name: str | None = None, *, extra_columns: bool = False
) -> Change:
    """Create or complete one table or view, under `name` where it is not called as its file.

    With `extra_columns`, a table may have columns beside those of its file; they stay.

    Raises:
        DriftError: it differs in ways that are not additions.
        WarehouseBusyError: not now; call again.
        WarehouseError: BigQuery refused.
    """
    from google.api_core.exceptions import Conflict, PreconditionFailed

    path = f"{dataset}.{name or relation.name}"
    for _ in range(2):
        existing = _existing(path)
        change = _planned(path, relation, existing, extra_columns=extra_columns)
        if change.action is Action.UNCHANGED:
            return change
        try:
            _apply(path, relation, existing)
        except (Conflict, PreconditionFailed):
            continue  # somebody else was faster: compare with what they left
        return change
    return _planned(path, relation, _existing(path), extra_columns=extra_columns)


def _planned(
    path: str, relation: Relation, existing: "Table | None", *, extra_columns: bool = False
) -> Change:
    if existing is None:
        return Change(path, Action.CREATE)
    if isinstance(relation, ViewSchema):
        return _planned_view(path, relation, existing)
    if existing.table_type != "TABLE":
        raise DriftError([f"{path} is a {existing.table_type}, the schema says TABLE"])
    found = difference(existing, relation, extra_columns=extra_columns)
    if found.problems:
        raise DriftError([f"{path} {problem}" for problem in found.problems])
    return _change(path, found)


def _change(path: str, found: Difference) -> Change:
    if found.new_columns:
        return Change(path, Action.ADD_COLUMNS, found.new_columns)
    if found.outdated:
        return Change(path, Action.UPDATE, found.outdated)
    return Change(path, Action.UNCHANGED)


def _planned_view(path: str, view: ViewSchema, existing: "Table") -> Change:
    if existing.table_type != "VIEW":
        raise DriftError([f"{path} is a {existing.table_type}, the schema says VIEW"])
    if existing.view_query != _view_query(path, view):
        return Change(path, Action.UPDATE, ("query",))
    if (existing.description or "") != view.description:
        return Change(path, Action.UPDATE, ("descriptions",))
    return Change(path, Action.UNCHANGED)


def _apply(path: str, relation: Relation, existing: "Table | None") -> None:
    from google.cloud.bigquery import Table

    client = bigquery_client()
    table = Table(f"{client.project}.{path}") if existing is None else existing
    table.description = relation.description
    if isinstance(relation, ViewSchema):
        table.view_query = _view_query(path, relation)
        fields = ["description", "view_query"]
    else:
        fields = _describe(table, relation, is_new=existing is None)
    if existing is None:
        _call(lambda: client.create_table(table, **_limits()))
    else:
        _call(lambda: client.update_table(table, fields, **_limits()))


def _describe(table: "Table", schema: TableSchema, *, is_new: bool) -> list[str]:
    """Set what `schema` says; the names of the properties that an update has to send."""
    from google.cloud.bigquery import TimePartitioning

    table.schema = _fields(schema.fields, table.schema)
    fields = ["description", "schema"]
    if schema.time_partitioning:
        days = schema.time_partitioning.expiration_days
        table.time_partitioning = TimePartitioning(
            type_=schema.time_partitioning.type,
            field=schema.time_partitioning.field,
            expiration_ms=days * _DAY_MS if days else None,
        )
        table.require_partition_filter = schema.require_partition_filter
        fields += ["time_partitioning", "require_partition_filter"]
    if is_new and schema.clustering:
        table.clustering_fields = list(schema.clustering)
    return fields


def _limits() -> dict[str, Any]:
    """Timeouts of a call; the client's own retry outlives a function (600 s)."""
    from google.cloud.bigquery import DEFAULT_RETRY

    return {"timeout": _TIMEOUT_SECONDS, "retry": DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS)}


def _fields(want: Sequence[Column], have: Sequence["SchemaField"]) -> list["SchemaField"]:
    """The columns of a schema file, then those that only the table has."""
    existing = {field.name.lower(): field for field in have}
    fields = []
    for column in want:
        known = existing.pop(column.name.lower(), None)
        fields.append(_with_inner(column, known) if known else column.as_field())
    return [*fields, *existing.values()]


def _with_inner(column: Column, known: "SchemaField") -> "SchemaField":
    from google.cloud.bigquery import SchemaField

    resource = column.as_field().to_api_repr()
    if column.fields:
        inner = _fields(column.fields, known.fields)
        resource["fields"] = [field.to_api_repr() for field in inner]
    return SchemaField.from_api_repr(resource)


def _view_query(path: str, view: ViewSchema) -> str:
    return view.query(project=bigquery_client().project, dataset=path.partition(".")[0])


def _existing(path: str) -> "Table | None":
    client = bigquery_client()
    name = f"{client.project}.{path}"
    return _find(lambda: client.get_table(name, **_limits()))


def _find(call: Callable[[], T]) -> T | None:
    from google.api_core.exceptions import NotFound

    try:
        return _call(call)
    except NotFound:
        return None


def _call(call: Callable[[], T]) -> T:
    """`call`, with everything but the three answers that callers act on as the product's error."""
    from google.api_core import exceptions
    from requests.exceptions import RequestException

    try:
        return call()
    except (exceptions.NotFound, exceptions.Conflict, exceptions.PreconditionFailed):
        raise
    except (exceptions.GoogleAPICallError, exceptions.RetryError, RequestException) as error:
        raise from_exception(error) from error
