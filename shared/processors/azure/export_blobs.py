"""Files of a Cost Management export in Blob Storage: one run's files, at one version or not at all.

    <container>/<directory>/<export>/YYYYMMDD-YYYYMMDD/[<time>/]<run ID>/manifest.json

Each run writes a folder of its own below the month that it reports, its files first and then the
manifest that names them (Microsoft Learn, "Tutorial: Create and manage Cost Management exports").
The newest manifest of a month counts.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.processors.azure.calls import Access, call, content_of, refused
from shared.processors.export_stores import Delivery, ExportFile
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderRefusedError,
    SourceShapeError,
)
from shared.settings import settings

if TYPE_CHECKING:
    import requests

SERVICE = "Azure Blob Storage"
SOURCE = "Azure Cost Management exports"
_VERSION = {"x-ms-version": "2023-11-03"}
_MAX_MANIFEST_BYTES = 32 * 1024 * 1024
_MAX_LISTS = 1000
SUFFIXES = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class ExportLocation:
    """Where an export is delivered."""

    account: str
    container: str
    directory: str
    export: str

    def folder(self, period: date) -> str:
        """Name prefix of everything about the month that begins on `period`."""
        last = period.replace(day=monthrange(period.year, period.month)[1])
        days = f"{period:%Y%m%d}-{last:%Y%m%d}"
        return "/".join([*filter(None, (self.directory.strip("/"), self.export)), days, ""])


@dataclass(frozen=True)
class _Listed:
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class ExportContainer:
    """The export as its container shows it to a credential: an `ExportStore`."""

    access: Access
    location: ExportLocation
    deadline: datetime = field(repr=False)

    def delivery(self, period: date) -> Delivery | None:
        """The newest run's files of a month; None while there are none.

        Raises:
            IncompleteAnswerError: a file is missing or has another size than the manifest says.
            SourceShapeError: the manifest has another form than documented.
            ProviderRefusedError: Azure says no, or the export is of another format.
            ProviderUnavailableError: no answer.
        """
        folder = self.location.folder(period)
        listed = dict(self._list(folder))
        manifests = [name for name in listed if name.endswith("/manifest.json")]
        if not manifests:
            return None
        newest = max(manifests, key=lambda name: (listed[name].modified, name))
        if listed[newest].size > _MAX_MANIFEST_BYTES:
            raise SourceShapeError(SOURCE, newest, "is too large for a manifest")
        answer = self._get(newest, {"If-Match": listed[newest].etag})
        content = content_of(answer, SOURCE, newest)
        return Delivery(period, tuple(self._files(content, newest, folder, listed)))

    def announced_at(self, period: date) -> str:
        """The manifest of a month."""
        folder = self.location.folder(period)
        return (
            f"manifest.json below {self.location.container}/{folder}. Correct account, container,"
            " directory and export if there should be"
        )

    def read(self, file: ExportFile, start: int, size: int) -> bytes:
        """Bytes of a file, at this version only."""
        asked = {"If-Match": file.etag, "Range": f"bytes={start}-{start + size - 1}"}
        return self._get(file.name, asked).content

    def _files(
        self, manifest: Any, name: str, folder: str, listed: dict[str, _Listed]
    ) -> Iterator[ExportFile]:
        blobs = manifest.get("blobs") if isinstance(manifest, dict) else None
        if not isinstance(blobs, list):
            raise SourceShapeError(SOURCE, name, "has no list `blobs`")
        for blob in blobs:
            try:
                key, size, rows = (
                    str(blob["blobName"]),
                    int(blob["byteCount"]),
                    blob["dataRowCount"],
                )
                rows = int(rows)
            except (KeyError, TypeError, ValueError):
                problem = "names a file without blobName, byteCount or dataRowCount"
                raise SourceShapeError(SOURCE, name, problem) from None
            if not key.startswith(folder) or ".." in key:
                raise SourceShapeError(SOURCE, name, f"names {key}, which is not below {folder}")
            if not key.endswith(SUFFIXES):
                raise ProviderRefusedError(
                    SOURCE, f"delivers {key}: create the export as Parquet, CSV or CSV with gzip."
                )
            found = listed.get(key)
            if found is None:
                raise IncompleteAnswerError(SOURCE, f"{key} is gone, though the manifest names it")
            if found.size != size:
                problem = f"{key} has {found.size} bytes where the manifest says {size}"
                raise IncompleteAnswerError(SOURCE, problem)
            yield ExportFile(key, size, found.etag, rows)

    def _list(self, prefix: str) -> Iterator[tuple[str, _Listed]]:
        """Every blob below a folder."""
        from xml.etree import ElementTree as ET

        marker = ""
        for _ in range(_MAX_LISTS):
            query = f"restype=container&comp=list&prefix={quote(prefix, safe='')}"
            url = f"{self._url}?{query}" + (f"&marker={quote(marker, safe='')}" if marker else "")
            answer = call(self.access, SERVICE, ("GET", url), self.deadline, headers=_VERSION)
            if answer.status_code == 404:
                raise ProviderRefusedError(
                    SERVICE,
                    f"has no container {self.location.container!r} in the account"
                    f" {self.location.account!r}: correct `account` and `container`.",
                )
            try:
                page = ET.fromstring(answer.content)  # noqa: S314 - Microsoft's own answer
            except ET.ParseError:
                raise IncompleteAnswerError(SERVICE, "a list is no whole XML") from None
            for blob in page.iter("Blob"):
                yield _listed(blob)
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return
        raise IncompleteAnswerError(SERVICE, f"there are more than {_MAX_LISTS} pages of files")

    def _get(self, name: str, headers: dict[str, str]) -> "requests.Response":
        url = f"{self._url}/{quote(name, safe='/')}"
        headers = {**_VERSION, **headers}
        answer = call(self.access, SERVICE, ("GET", url), self.deadline, headers=headers)
        if answer.status_code == 412:
            raise IncompleteAnswerError(SERVICE, f"{name} was replaced while it was read")
        if answer.status_code == 404:
            raise IncompleteAnswerError(SERVICE, f"{name} is gone, though it was listed")
        if answer.status_code not in {200, 206}:
            raise refused(self.access, SERVICE, answer)
        return answer

    @property
    def _url(self) -> str:
        base = settings().AZURE_BLOB_URL.replace("{account}", self.location.account)
        return f"{base}/{self.location.container}"


def _listed(blob: Any) -> tuple[str, _Listed]:
    properties = blob.find("Properties")
    try:
        etag = properties.findtext("Etag").strip('"')
        return blob.findtext("Name"), _Listed(
            int(properties.findtext("Content-Length")),
            f'"{etag}"',
            parsedate_to_datetime(properties.findtext("Last-Modified")),
        )
    except (AttributeError, TypeError, ValueError):
        raise SourceShapeError(SERVICE, "a list's Blob", "lacks name, size, etag or time") from None
