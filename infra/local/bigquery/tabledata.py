"""The methods `tabledata.insertAll` and `tabledata.list`."""

from typing import Any

import pyarrow as pa

from infra.local.bigquery.api import PREFIX, Call, Method, decode_token, encode_token
from infra.local.bigquery.catalog import Catalog, TableRef
from infra.local.bigquery.contents import Contents
from infra.local.bigquery.datasets import etag_of
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.names import split_decorator
from infra.local.bigquery.results import Results
from infra.local.bigquery.schemas import by_name
from infra.local.bigquery.streaming import MAX_REQUEST_BYTES, Streaming
from infra.local.bigquery.types import encode_rows

MAX_PAGE_ROWS = 100_000
MAX_PAGE_BYTES = 10 * 1024 * 1024  # REST reference: a page of rows is 10 MB by default


class TabledataMethods:
    """The methods of the REST resource `tabledata`."""

    def __init__(
        self, catalog: Catalog, streaming: Streaming, contents: Contents, results: Results
    ) -> None:
        self._catalog = catalog
        self._streaming = streaming
        self._contents = contents
        self._results = results

    def methods(self) -> list[Method]:
        """Routes and handlers."""
        table = f"{PREFIX}/projects/{{project}}/datasets/{{dataset}}/tables/{{table}}"
        return [
            Method(
                "tabledata.insertAll", "POST", f"{table}/insertAll", self.insert_all, threaded=True
            ),
            Method("tabledata.list", "GET", f"{table}/data", self.list_rows, threaded=True),
        ]

    def insert_all(self, call: Call) -> dict[str, Any]:
        if len(call.raw) > MAX_REQUEST_BYTES:
            raise ApiError(
                "invalid",
                f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes.",
                status=413,
            )
        ref, partition = _reference(call)
        errors = self._streaming.insert(ref, partition, call.body)
        answer: dict[str, Any] = {"kind": "bigquery#tableDataInsertAllResponse"}
        if errors:
            answer["insertErrors"] = errors
        return answer

    def list_rows(self, call: Call) -> dict[str, Any]:
        start = decode_token(call.query.get("pageToken")) or call.integer("startIndex") or 0
        limit = page_limit(call.integer("maxResults"))
        integers = call.flag("formatOptions.useInt64Timestamp")
        ref, partition = _reference(call)
        stored = self._results.get(ref)
        if stored is not None:
            chosen = _selected(stored.schema, call.query.get("selectedFields"))
            rows = stored.rows.select([field["name"] for field in chosen]).slice(start, limit)
            return _page(rows, chosen, start, stored.rows.num_rows, integers=integers)
        table = self._catalog.table(ref)
        if table.is_view:
            raise ApiError.invalid("Cannot list a table of type VIEW.")
        total, _ = self._contents.size(table, partition)
        chosen = _selected(table.schema, call.query.get("selectedFields"))
        rows = self._contents.rows(table, partition, chosen, start=start, limit=limit)
        return _page(rows, chosen, start, total, integers=integers)


def _reference(call: Call) -> tuple[TableRef, str | None]:
    name, partition = split_decorator(call.path["table"])
    return TableRef(call.path["project"], call.path["dataset"], name), partition


def page_limit(asked: int | None) -> int:
    """How many rows to read for one page."""
    return MAX_PAGE_ROWS if asked is None else min(asked, MAX_PAGE_ROWS)


def fitting(rows: pa.Table) -> pa.Table:
    """As many of the first rows as one page may hold; at least one."""
    if rows.nbytes <= MAX_PAGE_BYTES or not rows.num_rows:
        return rows
    return rows.slice(0, max(1, MAX_PAGE_BYTES * rows.num_rows // rows.nbytes))


def _page(
    rows: pa.Table, schema: list[dict[str, Any]], start: int, total: int, *, integers: bool
) -> dict[str, Any]:
    rows = fitting(rows)
    answer: dict[str, Any] = {
        "kind": "bigquery#tableDataList",
        "etag": etag_of(start, total),
        "totalRows": str(total),
    }
    if rows.num_rows:
        answer["rows"] = encode_rows(rows, schema, int64_timestamps=integers)
    following = start + rows.num_rows
    if following < total:
        answer["pageToken"] = encode_token(following)
    return answer


def _selected(schema: list[dict[str, Any]], names: str | None) -> list[dict[str, Any]]:
    """The columns of `selectedFields`, all without it; nested paths select the whole column.

    Raises:
        ApiError: 400 invalid for a column that there is not.
    """
    if not names:
        return schema
    columns = by_name(schema)
    wanted = []
    for name in names.split(","):
        top = name.strip().partition(".")[0].casefold()
        if top not in columns:
            raise ApiError.invalid(f"Invalid field name in selectedFields: {name}")
        wanted.append(top)
    return [column for column in schema if column["name"].casefold() in wanted]
