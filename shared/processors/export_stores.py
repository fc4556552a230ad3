"""What every provider's export is: deliveries of billing periods, files in a store, a dataset."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from shared.processors.export_totals import Measures
from shared.warehouse.schemas import Column


@dataclass(frozen=True)
class ExportFile:
    """A data file at the version that a delivery has."""

    name: str
    """Its key or path in the store."""
    size: int
    etag: str
    rows: int | None = None
    """As the manifest says; None where it says nothing, and the file itself does."""


@dataclass(frozen=True)
class Delivery:
    """What an export says of one billing period."""

    period: date
    """The period's first day."""
    files: tuple[ExportFile, ...]

    @property
    def version(self) -> str:
        """Identifies the content of the files."""
        text = json.dumps([(file.name, file.size, file.etag) for file in self.files])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class ExportStore(Protocol):
    """One export as the provider's storage shows it to a credential."""

    def delivery(self, period: date) -> Delivery | None:
        """The newest delivery of a billing period; None while there is none.

        Raises:
            IncompleteAnswerError: a file is missing, or a delivery is under way.
            SourceShapeError: the manifest has another form than documented.
            ProviderRefusedError: the provider says no, or the export is of another format.
            ProviderUnavailableError: no answer.
        """

    def announced_at(self, period: date) -> str:
        """Where the manifest of a period is looked for, in words for whoever set the export up."""

    def read(self, file: ExportFile, start: int, size: int) -> bytes:
        """Bytes of a file, at this version only; fewer where the answer broke off.

        Raises:
            IncompleteAnswerError: the file was replaced since, or is gone.
            ProviderUnavailableError: no answer.
        """


@dataclass(frozen=True)
class Dataset:
    """What is exported."""

    source: str
    """How messages name the export."""
    kind: str
    """What the export must be created with, for whoever lacks a column."""
    measures: Measures
    columns: Mapping[str, Column] = field(default_factory=dict, repr=False)
    """By their names in small letters: the columns whose types are known where a file has texts."""
