"""The methods `datasets.*`: a dataset's REST resource and what may change in it."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from infra.local.bigquery.api import PREFIX, Call, Method, page, to_json
from infra.local.bigquery.catalog import Catalog, Dataset, now_ms
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.names import check_dataset_name, check_labels
from infra.local.bigquery.table_operations import TableOperations

DEFAULT_LOCATION = "US"
_MIN_EXPIRATION_MS = 3_600_000  # REST reference, Dataset.defaultTableExpirationMs: one hour
_PAGE = 1000
_SERVER_FIELDS = frozenset(
    {
        "kind",
        "etag",
        "id",
        "selfLink",
        "creationTime",
        "lastModifiedTime",
        "location",
        "datasetReference",
        "type",
    }
)


def etag_of(*parts: Any) -> str:
    """A short text that changes with its parts."""
    return hashlib.blake2b(to_json(parts), digest_size=12).hexdigest()


def check_etag(call: Call, current: str) -> None:
    """Honour an `If-Match` header.

    Raises:
        ApiError: 412 conditionNotMet when the resource has changed since.
    """
    wanted = call.headers.get("if-match")
    if wanted and wanted not in {"*", current}:
        raise ApiError("conditionNotMet", "Precondition check failed.")


def merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """`old` with a JSON merge patch applied: null removes, objects merge, the rest replaces."""
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        elif isinstance(value, dict):
            result[key] = merged({}, value)
        else:
            result[key] = value
    return result


def dataset_resource(dataset: Dataset, base_url: str) -> dict[str, Any]:
    """The Dataset resource of the REST API."""
    reference = {"projectId": dataset.project, "datasetId": dataset.name}
    return {
        "kind": "bigquery#dataset",
        "etag": etag_of(str(dataset), dataset.modified, dataset.body),
        "id": str(dataset),
        "selfLink": f"{base_url}{PREFIX}/projects/{dataset.project}/datasets/{dataset.name}",
        "datasetReference": reference,
        "access": [
            {"role": "OWNER", "specialGroup": "projectOwners"},
            {"role": "WRITER", "specialGroup": "projectWriters"},
            {"role": "READER", "specialGroup": "projectReaders"},
        ],
        **dataset.body,
        "creationTime": str(dataset.created),
        "lastModifiedTime": str(dataset.modified),
        "location": dataset.location,
        "type": "DEFAULT",
    }


def _body(resource: dict[str, Any]) -> dict[str, Any]:
    body = {
        key: value
        for key, value in resource.items()
        if key not in _SERVER_FIELDS and value is not None
    }
    if "labels" in body:
        check_labels(body["labels"])
    for key in ("defaultTableExpirationMs", "defaultPartitionExpirationMs"):
        if key in body:
            body[key] = _expiration(key, body[key])
    return body


def _expiration(key: str, value: Any) -> str:
    try:
        milliseconds = int(value)
    except (TypeError, ValueError) as error:
        raise ApiError.invalid(f"Invalid value for {key}: {value}") from error
    if milliseconds < _MIN_EXPIRATION_MS:
        raise ApiError.invalid(
            f"Invalid value for {key}: {value}. It must be at least {_MIN_EXPIRATION_MS}."
        )
    return str(milliseconds)


class DatasetMethods:
    """The methods of the REST resource `datasets`, and `projects.list`."""

    def __init__(self, catalog: Catalog, operations: TableOperations) -> None:
        self._catalog = catalog
        self._operations = operations

    def methods(self) -> list[Method]:
        """Routes and handlers."""
        many = f"{PREFIX}/projects/{{project}}/datasets"
        one = many + "/{dataset}"
        return [
            Method("datasets.get", "GET", one, self.get),
            Method("datasets.list", "GET", many, self.list_datasets),
            Method("datasets.insert", "POST", many, self.insert, threaded=True),
            Method("datasets.patch", "PATCH", one, self.patch, threaded=True),
            Method("datasets.update", "PUT", one, self.update, threaded=True),
            Method("datasets.delete", "DELETE", one, self.delete, threaded=True),
            Method("projects.list", "GET", f"{PREFIX}/projects", self.list_projects),
        ]

    def get(self, call: Call) -> dict[str, Any]:
        dataset = self._catalog.dataset(call.path["project"], call.path["dataset"])
        return dataset_resource(dataset, call.base_url)

    def insert(self, call: Call) -> dict[str, Any]:
        resource = call.body
        reference = resource.get("datasetReference") or {}
        name = reference.get("datasetId")
        if not name:
            raise ApiError.required("datasetReference.datasetId")
        self._operations.dataset_changes(call.path["project"], name)
        now = now_ms()
        dataset = Dataset(
            project=call.path["project"],
            name=check_dataset_name(name),
            location=resource.get("location") or DEFAULT_LOCATION,
            created=now,
            modified=now,
            body=_body(resource),
        )
        return dataset_resource(self._catalog.create_dataset(dataset), call.base_url)

    def patch(self, call: Call) -> dict[str, Any]:
        return self._change(call, lambda old: merged(old, call.body))

    def update(self, call: Call) -> dict[str, Any]:
        return self._change(call, lambda _: call.body)

    def _change(
        self, call: Call, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        name = f"{call.path['project']}:{call.path['dataset']}"
        self._operations.dataset_changes(call.path["project"], call.path["dataset"])
        with self._catalog.storage.write_lock([name]):
            dataset = self._catalog.dataset(call.path["project"], call.path["dataset"])
            check_etag(call, dataset_resource(dataset, "")["etag"])
            location = call.body.get("location")
            if location and location != dataset.location:
                raise ApiError.invalid("Cannot change the location of a dataset")
            changed = replace(dataset, body=_body(change(dataset.body)), modified=now_ms())
            return dataset_resource(self._catalog.replace_dataset(changed), call.base_url)

    def delete(self, call: Call) -> None:
        self._catalog.delete_dataset(
            call.path["project"],
            call.path["dataset"],
            delete_contents=call.flag("deleteContents"),
        )

    def list_datasets(self, call: Call) -> dict[str, Any]:
        project = call.path["project"]
        wanted = _label_filter(call.query.get("filter"))
        hidden = call.flag("all")
        found = [
            dataset
            for dataset in self._catalog.datasets(project)
            if (hidden or not dataset.name.startswith("_")) and _matches(dataset, wanted)
        ]
        chosen, token = page(
            found,
            token=call.query.get("pageToken"),
            size=call.integer("maxResults"),
            default=_PAGE,
        )
        answer: dict[str, Any] = {
            "kind": "bigquery#datasetList",
            "etag": etag_of(project, len(found), token),
            "datasets": [_item(dataset) for dataset in chosen],
        }
        if token:
            answer["nextPageToken"] = token
        return answer

    def list_projects(self, call: Call) -> dict[str, Any]:
        chosen, token = page(
            self._catalog.projects(),
            token=call.query.get("pageToken"),
            size=call.integer("maxResults"),
            default=_PAGE,
        )
        projects = [
            {
                "kind": "bigquery#project",
                "id": project,
                "numericId": str(int(hashlib.sha256(project.encode()).hexdigest()[:10], 16)),
                "projectReference": {"projectId": project},
                "friendlyName": project,
            }
            for project in chosen
        ]
        answer: dict[str, Any] = {
            "kind": "bigquery#projectList",
            "projects": projects,
            "totalItems": len(self._catalog.projects()),
        }
        if token:
            answer["nextPageToken"] = token
        return answer


def _item(dataset: Dataset) -> dict[str, Any]:
    item: dict[str, Any] = {
        "kind": "bigquery#dataset",
        "id": str(dataset),
        "datasetReference": {"projectId": dataset.project, "datasetId": dataset.name},
        "location": dataset.location,
        "type": "DEFAULT",
    }
    item.update({k: dataset.body[k] for k in ("labels", "friendlyName") if k in dataset.body})
    return item


def _label_filter(text: str | None) -> dict[str, str | None]:
    """`labels.a:b labels.c` as {"a": "b", "c": None}; every condition must hold."""
    wanted: dict[str, str | None] = {}
    for condition in (text or "").split():
        name, separator, value = condition.partition(":")
        if not name.startswith("labels.") or name == "labels.":
            raise ApiError.invalid(f"Invalid filter: {text}", location="filter")
        wanted[name.removeprefix("labels.")] = value if separator and value != "*" else None
    return wanted


def _matches(dataset: Dataset, wanted: dict[str, str | None]) -> bool:
    labels = dataset.body.get("labels") or {}
    return all(
        key in labels and (value is None or labels[key] == value) for key, value in wanted.items()
    )
