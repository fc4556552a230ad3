"""The methods `tables.*`."""

from dataclasses import replace
from typing import Any

from infra.local.bigquery.api import PREFIX, Call, Method, page
from infra.local.bigquery.catalog import Catalog, Table, TableRef
from infra.local.bigquery.contents import Contents
from infra.local.bigquery.datasets import check_etag, etag_of
from infra.local.bigquery.enforcement import Enforcement
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.names import check_table_name, split_decorator
from infra.local.bigquery.results import Results
from infra.local.bigquery.sql.engine import QueryEngine, QueryRequest
from infra.local.bigquery.table_resources import (
    changed_table,
    table_etag,
    table_from_resource,
    table_item,
    table_resource,
)

_PAGE = 1000


class TableMethods:
    """The methods of the REST resource `tables`."""

    def __init__(
        self,
        catalog: Catalog,
        engine: QueryEngine,
        contents: Contents,
        results: Results,
        enforcement: Enforcement,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._contents = contents
        self._results = results
        self._enforcement = enforcement

    def methods(self) -> list[Method]:
        """Routes and handlers."""
        many = f"{PREFIX}/projects/{{project}}/datasets/{{dataset}}/tables"
        one = many + "/{table}"
        return [
            Method("tables.get", "GET", one, self.get, threaded=True),
            Method("tables.list", "GET", many, self.list_tables),
            Method("tables.insert", "POST", many, self.insert, threaded=True),
            Method("tables.patch", "PATCH", one, self.patch, threaded=True),
            Method("tables.update", "PUT", one, self.update, threaded=True),
            Method("tables.delete", "DELETE", one, self.delete, threaded=True),
        ]

    def get(self, call: Call) -> dict[str, Any]:
        ref, decorator = _reference(call)
        anonymous = self._results.table_resource(ref)
        if anonymous is not None:
            return anonymous
        table = self._catalog.table(ref)
        resource = self._resource(table, call, decorator)
        if decorator is not None:
            resource["id"] += f"${decorator}"
        return resource

    def insert(self, call: Call) -> dict[str, Any]:
        resource = call.body
        name = (resource.get("tableReference") or {}).get("tableId")
        if not name:
            raise ApiError.required("tableReference.tableId")
        ref = TableRef(call.path["project"], call.path["dataset"], check_table_name(name))
        self._catalog.dataset(ref.project, ref.dataset)
        table = table_from_resource(ref, resource, self._catalog.new_physical())
        self._enforcement.tables.table_changes(ref, table.time_partitioning)
        if table.is_view:
            if self._catalog.find_table(ref) is not None:
                raise ApiError.duplicate("Table", str(ref))
            table = replace(table, schema=self._view_schema(table))
        return self._resource(self._catalog.create_table(table), call)

    def patch(self, call: Call) -> dict[str, Any]:
        return self._change(call, patch=True)

    def update(self, call: Call) -> dict[str, Any]:
        return self._change(call, patch=False)

    def _change(self, call: Call, *, patch: bool) -> dict[str, Any]:
        ref, _ = _reference(call)
        partitioning = self._catalog.table(ref).time_partitioning
        self._enforcement.tables.table_changes(ref, partitioning)
        while True:
            table = self._catalog.table(ref)
            with self._catalog.storage.write_lock([table.physical or str(ref)]):
                if self._catalog.find_table(ref) is table:
                    check_etag(call, table_etag(table))
                    return self._resource(self._changed(table, call.body, patch=patch), call)

    def _changed(self, table: Table, resource: dict[str, Any], *, patch: bool) -> Table:
        if table.is_view:
            given = (resource.pop("schema", None) or {}).get("fields") or []
            changed = changed_table(table, resource, patch=patch)
            schema = self._view_schema(replace(changed, schema=given or table.schema))
            return self._catalog.replace_table(replace(changed, schema=schema))
        return self._store(table, changed_table(table, resource, patch=patch))

    def _store(self, table: Table, changed: Table) -> Table:
        if changed.schema == table.schema:
            return self._catalog.replace_table(changed)
        with self._catalog.storage.transaction([table.physical]) as transaction:
            self._catalog.alter_physical(transaction, table, changed)
            return self._catalog.replace_table(changed, tx=transaction)

    def delete(self, call: Call) -> None:
        ref, decorator = _reference(call)
        if decorator is None:
            self._catalog.delete_table(ref)
            return
        table = self._catalog.table(ref)
        self._contents.delete_partition(table, decorator)

    def list_tables(self, call: Call) -> dict[str, Any]:
        project, dataset = call.path["project"], call.path["dataset"]
        tables = self._catalog.tables(project, dataset)
        chosen, token = page(
            tables,
            token=call.query.get("pageToken"),
            size=call.integer("maxResults"),
            default=_PAGE,
        )
        answer: dict[str, Any] = {
            "kind": "bigquery#tableList",
            "etag": etag_of(project, dataset, len(tables), token),
            "tables": [table_item(table) for table in chosen],
            "totalItems": len(tables),
        }
        if token:
            answer["nextPageToken"] = token
        return answer

    def _view_schema(self, view: Table) -> list[dict[str, Any]]:
        """The schema of the view's query, with descriptions that the caller gave.

        Raises:
            ApiError: 400 invalidQuery, 404 notFound of what the query reads.
        """
        request = QueryRequest(project=view.ref.project, sql=view.view_query or "")
        plan = self._engine.dry_run(request)
        if plan.statement_type != "SELECT":
            raise ApiError.invalid_query("A view must be a single SELECT statement")
        described = {field["name"]: field.get("description") for field in view.schema}
        return [
            {**field, "description": described[field["name"]]}
            if described.get(field["name"])
            else field
            for field in plan.schema
        ]

    def _resource(self, table: Table, call: Call, decorator: str | None = None) -> dict[str, Any]:
        rows, size = (0, 0) if table.is_view else self._contents.size(table, decorator)
        return table_resource(
            table,
            self._catalog.dataset(table.ref.project, table.ref.dataset),
            call.base_url,
            modified=self._catalog.storage.last_write(table.physical),
            rows=rows,
            size=size,
            buffer=self._enforcement.buffers.resource(table),
        )


def _reference(call: Call) -> tuple[TableRef, str | None]:
    name, decorator = split_decorator(call.path["table"])
    return TableRef(call.path["project"], call.path["dataset"], name), decorator
