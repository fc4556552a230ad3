"""Files of a Data Export in S3: one delivery of a billing period, at one version or not at all.

    s3://<bucket>/<prefix>/<export>/metadata/BILLING_PERIOD=YYYY-MM/<export>-Manifest.json
    s3://<bucket>/<prefix>/<export>/data/BILLING_PERIOD=YYYY-MM/...

The manifest names the files of the newest delivery in both modes of an export: those that it has
just overwritten, or those below `<timestamp>-<execution id>/` that it has created. It is written
after them (AWS Data Exports, "Understanding export delivery").
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from shared.processors.aws.failures import calling
from shared.processors.aws.session import Access
from shared.processors.export_stores import Delivery, ExportFile
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderRefusedError,
    SourceShapeError,
)

SERVICE = "S3"
SOURCE = "AWS Data Exports"
_MAX_MANIFEST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class ExportLocation:
    """Where an export is delivered."""

    bucket: str
    prefix: str
    export: str

    @property
    def root(self) -> str:
        """Key prefix of everything that the export delivers, without a slash at its end."""
        return "/".join(part for part in (self.prefix.strip("/"), self.export) if part)

    def manifest(self, period: date) -> str:
        """Key of the manifest of a billing period."""
        folder = f"{self.root}/metadata/BILLING_PERIOD={period:%Y-%m}"
        return f"{folder}/{self.export}-Manifest.json"

    def data(self, period: date) -> str:
        """Key prefix of the period's files."""
        return f"{self.root}/data/BILLING_PERIOD={period:%Y-%m}/"


@dataclass(frozen=True)
class ExportBucket:
    """The export as its S3 bucket shows it to a credential: an `ExportStore`."""

    access: Access
    location: ExportLocation
    client: Any = field(repr=False)

    def delivery(self, period: date) -> Delivery | None:
        """The newest delivery of a billing period; None while there is none.

        Raises:
            IncompleteAnswerError: AWS is delivering right now, or a file is missing.
            SourceShapeError: the manifest names no files of the period.
            ProviderRefusedError: AWS says no, or the export is not in Parquet.
            ProviderUnavailableError: no answer.
        """
        found = self._get(self.location.manifest(period))
        if found is None:
            return None
        content, delivered = found
        files = tuple(self._file(key, delivered) for key in sorted(self._keys(content, period)))
        return Delivery(period, files)

    def announced_at(self, period: date) -> str:
        """The manifest of a period."""
        key = self.location.manifest(period)
        return (
            f"s3://{self.location.bucket}/{key}. Correct bucket, prefix and export if there should"
            " be"
        )

    def read(self, file: ExportFile, start: int, size: int) -> bytes:
        """Bytes of a file, at this version only."""
        with self._calling(file.name):
            answer = self.client.get_object(
                Bucket=self.location.bucket,
                Key=file.name,
                Range=f"bytes={start}-{start + size - 1}",
                IfMatch=file.etag,
            )
            content: bytes = answer["Body"].read()
        return content

    def _get(self, key: str) -> tuple[bytes, datetime] | None:
        with self._calling(key):
            try:
                answer = self.client.get_object(Bucket=self.location.bucket, Key=key)
            except self.client.exceptions.NoSuchKey:
                return None
            if answer["ContentLength"] > _MAX_MANIFEST_BYTES:
                raise SourceShapeError(SOURCE, key, "is too large for a manifest")
            # Without a size: only then does botocore notice that the answer has broken off.
            return answer["Body"].read(), answer["LastModified"]

    def _keys(self, manifest: bytes, period: date) -> Iterator[str]:
        """The keys of the period's files, which lie where the export puts them."""
        try:
            names = json.loads(manifest)["dataFiles"]
        except (ValueError, KeyError, TypeError):
            problem = "is no JSON object with dataFiles"
            raise SourceShapeError(SOURCE, "the manifest", problem) from None
        if not isinstance(names, list) or not names:
            problem = "names no files"
            raise SourceShapeError(SOURCE, "dataFiles of the manifest", problem)
        bucket = f"s3://{self.location.bucket}/"
        for name in names:
            key = str(name).removeprefix(bucket)
            if not key.startswith(self.location.data(period)) or ".." in key:
                problem = f"names {name}, which is not below {self.location.data(period)}"
                raise SourceShapeError(SOURCE, "dataFiles of the manifest", problem)
            if not key.endswith(".parquet"):
                raise ProviderRefusedError(
                    SOURCE,
                    f"delivers {name}: create the export with the format Parquet.",
                )
            yield key

    def _file(self, key: str, delivered: datetime) -> ExportFile:
        with self._calling(key):
            found = self.client.head_object(Bucket=self.location.bucket, Key=key)
        if found["LastModified"] > delivered:
            raise IncompleteAnswerError(
                SOURCE, f"{key} is newer than its manifest, a delivery is under way"
            )
        return ExportFile(key, int(found["ContentLength"]), found["ETag"])

    @contextmanager
    def _calling(self, key: str) -> Iterator[None]:
        """The errors of `calling`, and those that say that the delivery has changed."""
        from botocore.exceptions import ClientError

        with calling(SERVICE, self.access.credential):
            try:
                yield
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                if code in {"PreconditionFailed", "412"}:
                    raise IncompleteAnswerError(
                        SERVICE, f"{key} was replaced while it was read"
                    ) from None
                if code in {"NoSuchKey", "404"}:
                    raise IncompleteAnswerError(
                        SERVICE, f"{key} is gone, though the manifest names it"
                    ) from None
                if code == "NoSuchBucket":
                    problem = f"has no bucket {self.location.bucket!r}: correct `bucket`."
                    raise ProviderRefusedError(SERVICE, problem) from None
                raise
