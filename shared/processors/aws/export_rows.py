"""Rows of a delivery: Parquet files read row group by row group, counted and added up on the way.

All footers are read first, so that a cut-off file and a changed column are found before a row is
loaded; and a load ends without a job unless every row that the footers promise has come.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from shared.processors.aws.export_files import Delivery, ExportBucket, ExportFile
from shared.processors.export_totals import Measures, Total
from shared.processors.landing import Landing
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderUnavailableError,
    SourceShapeError,
)
from shared.warehouse.conversion import conversion

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_SOURCE = "AWS Data Exports"
_BATCH_ROWS = 16_384
_BUFFER_BYTES = 1024 * 1024
_MOST_AHEAD_BYTES = 48 * 1024 * 1024
"""A row group up to this size is fetched in a few requests; a larger one in pieces."""


@dataclass(frozen=True)
class ExportRows:
    """The rows of one billing period, as the export delivered them."""

    bucket: ExportBucket
    delivery: Delivery
    measures: Measures
    footers: tuple[Any, ...] = field(repr=False)
    """`pyarrow.parquet.FileMetaData` of each file."""
    schema: "pa.Schema"
    """Every column that a file has."""

    @classmethod
    def of(cls, bucket: ExportBucket, delivery: Delivery, measures: Measures) -> "ExportRows":
        """Read the footers.

        Raises:
            IncompleteAnswerError: a file is cut off.
            SourceShapeError: the files disagree, or a column that is needed is missing.
        """
        import pyarrow as pa

        footers = tuple(_footer(bucket, file) for file in delivery.files)
        try:
            schema = pa.unify_schemas([_schema(footer) for footer in footers])
        except pa.ArrowException as error:
            raise SourceShapeError(_SOURCE, "the files of one delivery", str(error)) from error
        names = {name.casefold() for name in schema.names}
        for name in (measures.period, measures.cost, measures.currency):
            if name.casefold() not in names:
                raise SourceShapeError(_SOURCE, f"column {name}", "is missing")
        return cls(bucket, delivery, measures, footers, schema)

    @property
    def count(self) -> int:
        """Rows that the footers promise."""
        return sum(footer.num_rows for footer in self.footers)

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
        counted.rows, counted.by_currency = 0, {}
        for file, footer in zip(self.delivery.files, self.footers, strict=True):
            convert = conversion(_schema(footer), landing.schema.fields)
            for rows in self._read(file, footer):
                if datetime.now(UTC) >= deadline:
                    problem = f"gave {counted.rows} of {self.count} rows within the step's time"
                    raise ProviderUnavailableError(_SOURCE, problem)
                batch = convert.batch(rows)
                self._check_period(batch, file)
                counted.add(batch, self.measures)
                yield batch
        if counted.rows != self.count:
            problem = f"{counted.rows} rows came of {self.count}"
            raise IncompleteAnswerError(_SOURCE, problem)

    def _read(self, file: ExportFile, footer: Any) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa
        import pyarrow.parquet as pq

        groups = (footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
        try:
            with pq.ParquetFile(
                pa.PythonFile(self.bucket.open(file), mode="r"),
                metadata=footer,
                pre_buffer=max(groups, default=0) <= _MOST_AHEAD_BYTES,
                buffer_size=_BUFFER_BYTES,
                coerce_int96_timestamp_unit="us",
            ) as opened:
                yield from opened.iter_batches(batch_size=_BATCH_ROWS)
        except pa.ArrowException as error:
            raise _unreadable(file, error) from error

    def _check_period(self, batch: "pa.RecordBatch", file: ExportFile) -> None:
        """BigQuery would refuse rows of another partition, with a less helpful sentence."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = batch.column(self.measures.period)
        begins = datetime.combine(self.delivery.period, time(), UTC)
        same = pc.equal(column, pa.scalar(begins, column.type))
        if not pc.all(pc.fill_null(same, False)).as_py():  # noqa: FBT003 - an Arrow scalar
            problem = f"has rows of another period than {self.delivery.period:%Y-%m} in {file.key}"
            raise SourceShapeError(_SOURCE, f"column {self.measures.period}", problem)


def _footer(bucket: ExportBucket, file: ExportFile) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(pa.PythonFile(bucket.open(file), mode="r"))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _schema(footer: Any) -> "pa.Schema":
    return footer.schema.to_arrow_schema().remove_metadata()


def _unreadable(file: ExportFile, error: Exception) -> IncompleteAnswerError:
    reason = str(error).partition("\n")[0][:200]
    return IncompleteAnswerError(_SOURCE, f"{file.key} is no whole Parquet file ({reason})")
