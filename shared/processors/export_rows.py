"""Rows of a delivery: Parquet by row groups, CSV by blocks, counted and added up on the way.

All headers and footers are read first, so that a cut-off file and a changed column are found before
a row is loaded; and a load ends without a job unless every row that is promised has come.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from shared.processors.export_stores import Dataset, Delivery, ExportFile, ExportStore
from shared.processors.export_totals import Total
from shared.processors.landing import Landing
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderUnavailableError,
    SourceShapeError,
)
from shared.processors.remote_file import RemoteFile
from shared.warehouse.arrow import arrow_type, is_text
from shared.warehouse.conversion import UnfitValueError, conversion
from shared.warehouse.schemas import Column

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 16_384
_BUFFER_BYTES = 1024 * 1024
_BLOCK_BYTES = 4 * 1024 * 1024
_MOST_AHEAD_BYTES = 48 * 1024 * 1024
"""A row group up to this size is fetched in a few requests; a larger one in pieces."""
_MOST_HEADER_BYTES = 256 * 1024


@dataclass(frozen=True)
class _Head:
    """What is known of a file before its rows are read."""

    columns: "pa.Schema"
    rows: int
    footer: Any = field(default=None, repr=False)
    """`pyarrow.parquet.FileMetaData`; None of a CSV."""


@dataclass(frozen=True)
class ExportRows:
    """The rows of one billing period, as the export delivered them."""

    store: ExportStore
    dataset: Dataset
    delivery: Delivery
    heads: tuple[_Head, ...] = field(repr=False)
    """Of each file."""
    schema: "pa.Schema"
    """Every column that a file has, in the type that it is read as."""

    @classmethod
    def of(cls, store: ExportStore, dataset: Dataset, delivery: Delivery) -> "ExportRows":
        """Read headers and footers.

        Raises:
            IncompleteAnswerError: a file is cut off.
            SourceShapeError: the files disagree, or a column that is needed is missing.
        """
        import pyarrow as pa

        heads = tuple(_head(store, dataset, file) for file in delivery.files)
        try:
            schema = pa.unify_schemas([_typed(head.columns, dataset.columns) for head in heads])
        except pa.ArrowException as error:
            place = "the files of one delivery"
            raise SourceShapeError(dataset.source, place, str(error)) from error
        names = {name.casefold() for name in schema.names}
        measures = dataset.measures
        for name in (measures.period, measures.cost, measures.currency):
            if heads and name.casefold() not in names:
                problem = f"is missing: create the export with {dataset.kind}"
                raise SourceShapeError(dataset.source, f"column {name}", problem)
        return cls(store, dataset, delivery, heads, schema)

    @property
    def count(self) -> int:
        """Rows that manifest and footers promise."""
        return sum(head.rows for head in self.heads)

    def batches(
        self, landing: Landing, counted: Total, deadline: datetime
    ) -> "Iterator[pa.RecordBatch]":
        """The rows in the table's columns; `counted` holds what they add up to at the end.

        Raises:
            ProviderUnavailableError: `deadline` came before the last row.
            IncompleteAnswerError: rows are missing, or a file was replaced meanwhile.
            SourceShapeError: a row belongs to another period.
            UnfitValueError: a value does not fit its column.
        """
        source, known = self.dataset.source, self.dataset.columns
        counted.rows, counted.by_currency = 0, {}
        for file, head in zip(self.delivery.files, self.heads, strict=True):
            convert = conversion(_typed(head.columns, known), landing.schema.fields)
            before = counted.rows
            for rows in self._read(file, head):
                if datetime.now(UTC) >= deadline:
                    problem = f"gave {counted.rows} of {self.count} rows within the step's time"
                    raise ProviderUnavailableError(source, problem)
                batch = convert.batch(_parsed(rows, known))
                self._check_period(batch, file)
                counted.add(batch, self.dataset.measures)
                yield batch
            if counted.rows - before != head.rows:
                problem = f"{counted.rows - before} rows of {head.rows} came of {file.name}"
                raise IncompleteAnswerError(source, problem)

    def _read(self, file: ExportFile, head: _Head) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa
        import pyarrow.parquet as pq
        from pyarrow import csv

        with _reading(self.dataset, file):
            if head.footer is None:
                yield from csv.open_csv(
                    _text(self.store, self.dataset, file),
                    csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                    csv.ParseOptions(newlines_in_values=True),
                    csv.ConvertOptions(
                        column_types=head.columns, strings_can_be_null=True, null_values=[""]
                    ),
                )
                return
            groups = (head.footer.row_group(i) for i in range(head.footer.num_row_groups))
            largest = max((group.total_byte_size for group in groups), default=0)
            with pq.ParquetFile(
                pa.PythonFile(_opened(self.store, self.dataset, file), mode="r"),
                metadata=head.footer,
                pre_buffer=largest <= _MOST_AHEAD_BYTES,
                buffer_size=_BUFFER_BYTES,
                coerce_int96_timestamp_unit="us",
            ) as opened:
                yield from opened.iter_batches(batch_size=_BATCH_ROWS)

    def _check_period(self, batch: "pa.RecordBatch", file: ExportFile) -> None:
        """BigQuery would refuse rows of another partition, with a less helpful sentence."""
        import pyarrow as pa
        import pyarrow.compute as pc

        period = self.dataset.measures.period
        column = batch.column(period)
        begins = datetime.combine(self.delivery.period, time(), UTC)
        same = pc.equal(column, pa.scalar(begins, column.type))
        if not pc.all(pc.fill_null(same, False)).as_py():  # noqa: FBT003 - an Arrow scalar
            problem = f"has rows of another period than {self.delivery.period:%Y-%m} in {file.name}"
            raise SourceShapeError(self.dataset.source, f"column {period}", problem)


def _head(store: ExportStore, dataset: Dataset, file: ExportFile) -> _Head:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _reading(dataset, file):
        if not file.name.endswith(".parquet"):
            names = _header(store, dataset, file)
            return _Head(pa.schema([(name, pa.string()) for name in names]), file.rows or 0)
        footer = pq.read_metadata(pa.PythonFile(_opened(store, dataset, file), mode="r"))
    if file.rows not in {None, footer.num_rows}:
        problem = f"{file.name} has {footer.num_rows} rows where the manifest says {file.rows}"
        raise IncompleteAnswerError(dataset.source, problem)
    return _Head(footer.schema.to_arrow_schema().remove_metadata(), footer.num_rows, footer)


def _header(store: ExportStore, dataset: Dataset, file: ExportFile) -> list[str]:
    """The names of a CSV's columns."""
    import csv

    start = _text(store, dataset, file).read(_MOST_HEADER_BYTES)
    line, end, _ = bytes(start).partition(b"\n")
    names = next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r")]), [])
    if not end or len({name.casefold() for name in names}) != len(names) or "" in names:
        problem = "does not begin with the names of its columns"
        raise SourceShapeError(dataset.source, file.name, problem)
    return names


def _text(store: ExportStore, dataset: Dataset, file: ExportFile) -> Any:
    """The text of a CSV from its beginning, a few megabytes of the file at a time."""
    import pyarrow as pa

    buffered = io.BufferedReader(_opened(store, dataset, file), _BLOCK_BYTES)
    source = pa.PythonFile(buffered, mode="r")
    return pa.CompressedInputStream(source, "gzip") if file.name.endswith(".gz") else source


def _opened(store: ExportStore, dataset: Dataset, file: ExportFile) -> RemoteFile:
    def read(start: int, size: int) -> bytes:
        content = store.read(file, start, size)
        if len(content) != size:
            raise IncompleteAnswerError(dataset.source, f"{file.name} broke off at byte {start}")
        return content

    return RemoteFile(file.size, read)


@contextmanager
def _reading(dataset: Dataset, file: ExportFile) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].partition(", got ")[0][:200]  # then comes a row
        problem = f"{file.name} cannot be read ({reason})"
        raise IncompleteAnswerError(dataset.source, problem) from error


def _typed(schema: "pa.Schema", known: Mapping[str, Column]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([pa.field(found.name, _type_of(found, known)) for found in schema])


def _type_of(found: "pa.Field", known: Mapping[str, Column]) -> "pa.DataType":
    """The type that a column is read as: its documented one where it comes as text.

    Of a provider's own columns in FOCUS (x_...) no types are documented: numbers and flags become
    the texts that they are in a CSV.
    """
    import pyarrow as pa

    column = known.get(found.name.casefold())
    if column is None:
        return found.type
    is_plain = pa.types.is_integer(found.type) or pa.types.is_boolean(found.type)
    as_text = is_plain and column.type == "STRING" and column.name.startswith("x_")
    return arrow_type(column) if as_text or is_text(found.type) else found.type


def _parsed(rows: "pa.RecordBatch", known: Mapping[str, Column]) -> "pa.RecordBatch":
    """The rows with what comes as text in the types that it is read as."""
    import pyarrow as pa

    schema = _typed(rows.schema, known)
    pairs = zip(rows.columns, schema, strict=True)
    return pa.record_batch([_value(array, column) for array, column in pairs], schema=schema)


def _value(array: Any, column: "pa.Field") -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if array.type == column.type:
        return array
    try:
        if not pa.types.is_timestamp(column.type):
            return array.cast(column.type)
        # Seven digits of a second, and no zone but UTC, are what Azure writes.
        plain = pc.replace_substring_regex(array, r"(\.\d{6})\d*Z?$|Z$", r"\1")
        return plain.cast(pa.timestamp("us")).cast(column.type)
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0][:200]
        raise UnfitValueError(column.name, str(column.type), reason) from error
