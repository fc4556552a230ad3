"""Rows of a delivery in FOCUS: Parquet by row groups, CSV by blocks, counted and added up.

All headers and footers are read first, so that a cut-off file and a changed column are found before
a row is loaded; and a load ends without a job unless every row that the manifest promises has come.

What comes as text, all of a CSV, is read by the type that FOCUS gives the column.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.processors.azure.export_blobs import SOURCE, Delivery, ExportContainer, ExportFile
from shared.processors.export_totals import Measures, Total
from shared.processors.landing import Landing
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderUnavailableError,
    SourceShapeError,
)
from shared.warehouse.arrow import arrow_type, is_text
from shared.warehouse.conversion import UnfitValueError, conversion
from shared.warehouse.schemas import Column, load_table

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES = Measures("BillingPeriodStart", "BilledCost", "BillingCurrency")
FOCUS = "azure/focus_line_items"
_BATCH_ROWS = 16_384
_BUFFER_BYTES = 1024 * 1024
_BLOCK_BYTES = 4 * 1024 * 1024
_MOST_AHEAD_BYTES = 48 * 1024 * 1024
"""A row group up to this size is fetched in a few requests; a larger one in pieces."""
_MOST_HEADER_BYTES = 256 * 1024


@dataclass(frozen=True)
class ExportRows:
    """The rows of one month, as the export delivered them."""

    container: ExportContainer
    delivery: Delivery
    columns: Mapping[ExportFile, "pa.Schema"] = field(repr=False)
    """Of each file, as it has them."""
    schema: "pa.Schema"
    """Every column that a file has, in the type that it is read as."""

    @classmethod
    def of(cls, container: ExportContainer, delivery: Delivery) -> "ExportRows":
        """Read headers and footers.

        Raises:
            IncompleteAnswerError: a file is cut off.
            SourceShapeError: the files disagree, or a column that is needed is missing.
        """
        import pyarrow as pa

        columns = {file: _columns(container, file) for file in delivery.files}
        try:
            schema = pa.unify_schemas([_typed(found) for found in columns.values()])
        except pa.ArrowException as error:
            raise SourceShapeError(SOURCE, "the files of one run", str(error)) from error
        names = {name.casefold() for name in schema.names}
        for name in (MEASURES.period, MEASURES.cost, MEASURES.currency):
            if columns and name.casefold() not in names:
                problem = "is missing: create the export with the FOCUS dataset"
                raise SourceShapeError(SOURCE, f"column {name}", problem)
        return cls(container, delivery, columns, schema)

    @property
    def count(self) -> int:
        """Rows that the manifest promises."""
        return sum(file.rows for file in self.delivery.files)

    def batches(
        self, landing: Landing, counted: Total, deadline: datetime
    ) -> "Iterator[pa.RecordBatch]":
        """The rows in the table's columns; `counted` holds what they add up to at the end.

        Raises:
            ProviderUnavailableError: `deadline` came before the last row.
            IncompleteAnswerError: rows are missing, or a file was replaced meanwhile.
            SourceShapeError: a row belongs to another month.
            UnfitValueError: a value does not fit its column.
        """
        counted.rows, counted.by_currency = 0, {}
        for file, columns in self.columns.items():
            convert = conversion(_typed(columns), landing.schema.fields)
            before = counted.rows
            for rows in _read(self.container, file, columns):
                if datetime.now(UTC) >= deadline:
                    problem = f"gave {counted.rows} of {self.count} rows within the step's time"
                    raise ProviderUnavailableError(SOURCE, problem)
                batch = convert.batch(_parsed(rows))
                self._check_period(batch, file)
                counted.add(batch, MEASURES)
                yield batch
            if counted.rows - before != file.rows:
                problem = f"{counted.rows - before} rows of {file.rows} came of {file.name}"
                raise IncompleteAnswerError(SOURCE, problem)

    def _check_period(self, batch: "pa.RecordBatch", file: ExportFile) -> None:
        """BigQuery would refuse rows of another partition, with a less helpful sentence."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = batch.column(MEASURES.period)
        begins = datetime.combine(self.delivery.period, time(), UTC)
        same = pc.equal(column, pa.scalar(begins, column.type))
        if not pc.all(pc.fill_null(same, False)).as_py():  # noqa: FBT003 - an Arrow scalar
            problem = f"has rows of another month than {self.delivery.period:%Y-%m} in {file.name}"
            raise SourceShapeError(SOURCE, f"column {MEASURES.period}", problem)


@cache
def focus_columns() -> Mapping[str, Column]:
    """The columns of FOCUS as Azure exports them, by their names in small letters."""
    return {column.name.casefold(): column for column in load_table(FOCUS).fields}


def _typed(schema: "pa.Schema") -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([pa.field(f.name, _type_of(f)) for f in schema])


def _type_of(column: "pa.Field") -> "pa.DataType":
    """The type that a column is read as: FOCUS's own where it comes as text.

    Of its own columns (x_...) Azure documents no types: numbers and flags become the texts that
    they are in a CSV.
    """
    import pyarrow as pa

    known = focus_columns().get(column.name.casefold())
    if known is None:
        return column.type
    is_plain = pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
    as_text = is_plain and known.type == "STRING" and known.name.startswith("x_")
    return arrow_type(known) if as_text or is_text(column.type) else column.type


def _parsed(rows: "pa.RecordBatch") -> "pa.RecordBatch":
    import pyarrow as pa

    schema = _typed(rows.schema)
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


def _columns(container: ExportContainer, file: ExportFile) -> "pa.Schema":
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.name.endswith(".parquet"):
        return pa.schema([(name, pa.string()) for name in _header(container, file)])
    with _reading(file):
        found = pq.read_metadata(pa.PythonFile(container.open(file), mode="r"))
        if found.num_rows != file.rows:
            problem = f"{file.name} has {found.num_rows} rows where the manifest says {file.rows}"
            raise IncompleteAnswerError(SOURCE, problem)
        return found.schema.to_arrow_schema().remove_metadata()


def _header(container: ExportContainer, file: ExportFile) -> list[str]:
    """The names of a CSV's columns."""
    import csv

    with _reading(file):
        start = _stream(container, file).read(_MOST_HEADER_BYTES)
    line, end, _ = bytes(start).partition(b"\n")
    names = next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r")]), [])
    if not end or len({name.casefold() for name in names}) != len(names) or "" in names:
        raise SourceShapeError(SOURCE, file.name, "does not begin with the names of its columns")
    return names


def _read(
    container: ExportContainer, file: ExportFile, columns: "pa.Schema"
) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    with _reading(file):
        if not file.name.endswith(".parquet"):
            yield from csv.open_csv(
                _stream(container, file),
                csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                csv.ParseOptions(newlines_in_values=True),
                csv.ConvertOptions(
                    column_types=columns, strings_can_be_null=True, null_values=[""]
                ),
            )
            return
        source = pa.PythonFile(container.open(file), mode="r")
        footer = pq.read_metadata(source)
        groups = (footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
        with pq.ParquetFile(
            source,
            metadata=footer,
            pre_buffer=max(groups, default=0) <= _MOST_AHEAD_BYTES,
            buffer_size=_BUFFER_BYTES,
            coerce_int96_timestamp_unit="us",
        ) as opened:
            yield from opened.iter_batches(batch_size=_BATCH_ROWS)


def _stream(container: ExportContainer, file: ExportFile) -> Any:
    """The text of a CSV from its beginning, a few megabytes of the file at a time."""
    import pyarrow as pa

    source = pa.PythonFile(io.BufferedReader(container.open(file), _BLOCK_BYTES), mode="r")
    return pa.CompressedInputStream(source, "gzip") if file.name.endswith(".gz") else source


@contextmanager
def _reading(file: ExportFile) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].partition(", got ")[0][:200]  # then comes a row
        raise IncompleteAnswerError(SOURCE, f"{file.name} cannot be read ({reason})") from error
