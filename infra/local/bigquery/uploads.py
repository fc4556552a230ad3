"""Uploads of load jobs: `uploadType=multipart` in one request, `resumable` in several."""

import json
import re
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.api import Call, Method, Reply
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.job_methods import JobMethods, until_done

UPLOAD_PREFIX = "/upload/bigquery/v2"
INLINE_SECONDS = 5.0  # the client polls a load job at intervals of seconds: spare it the first one
OPEN_UPLOADS = 100
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(slots=True)
class _Upload:
    """A resumable upload under way; `content` is what has arrived."""

    project: str
    resource: dict[str, Any]
    content: bytearray = field(default_factory=bytearray)


class UploadMethods:
    """`jobs.insert` with a body to load."""

    def __init__(self, jobs: JobMethods) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Upload] = OrderedDict()

    def methods(self) -> list[Method]:
        """Routes and handlers."""
        path = f"{UPLOAD_PREFIX}/projects/{{project}}/jobs"
        return [
            Method("jobs.insert", "POST", path, self.post, asynchronous=True),
            Method("jobs.upload", "PUT", path, self.put, asynchronous=True),
        ]

    async def post(self, call: Call) -> Any:
        kind = call.query.get("uploadType")
        if kind == "multipart":
            metadata, content = split_multipart(call.headers.get("content-type", ""), call.raw)
            return await self._start(call, call.path["project"], _parsed(metadata), content)
        if kind == "resumable":
            return self._open_upload(call)
        raise ApiError.invalid(f"Invalid value for uploadType: {kind}", location="uploadType")

    def _open_upload(self, call: Call) -> Reply:
        resource = _parsed(call.raw)
        self._jobs.new_job(call.path["project"], resource)  # a refusal is better before the bytes
        upload_id = uuid.uuid4().hex
        with self._lock:
            self._open[upload_id] = _Upload(call.path["project"], resource)
            while len(self._open) > OPEN_UPLOADS:
                self._open.popitem(last=False)
        location = (
            f"{call.base_url}{UPLOAD_PREFIX}/projects/{call.path['project']}/jobs"
            f"?uploadType=resumable&upload_id={upload_id}"
        )
        return Reply({}, 200, {"location": location, "x-guploader-uploadid": upload_id})

    async def put(self, call: Call) -> Any:
        upload_id = call.query.get("upload_id", "")
        with self._lock:
            upload = self._open.get(upload_id)
        if upload is None:
            raise ApiError.not_found("Upload", upload_id)
        total = _append(upload, call.headers.get("content-range"), call.raw)
        if total is None or len(upload.content) < total:
            headers = {"range": f"bytes=0-{len(upload.content) - 1}"} if upload.content else {}
            return Reply(b"", 308, headers)
        with self._lock:
            self._open.pop(upload_id, None)
        return await self._start(call, upload.project, upload.resource, bytes(upload.content))

    async def _start(
        self, call: Call, project: str, resource: dict[str, Any], content: bytes
    ) -> dict[str, Any]:
        job = self._jobs.start_load(project, resource, content)
        await until_done(job, INLINE_SECONDS)
        return job.to_api(call.base_url)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise ApiError("parseError", f"Parse Error: {error}") from error
    if not isinstance(parsed, dict):
        raise ApiError("parseError", "Parse Error: the job must be a JSON object")
    return parsed


def _append(upload: _Upload, content_range: str | None, chunk: bytes) -> int | None:
    """Add a chunk; returns the upload's total size where the client knows it.

    Raises:
        ApiError: 400 for a range that does not continue what has arrived.
    """
    if content_range is None:
        upload.content += chunk
        return len(upload.content)
    match = _RANGE.fullmatch(content_range)
    if match is None:
        raise ApiError.invalid(f"Invalid Content-Range: {content_range}")
    first, _, total = match.groups()
    if first is not None:
        if int(first) > len(upload.content):
            raise ApiError.invalid(f"Invalid Content-Range: {content_range}: bytes are missing")
        del upload.content[int(first) :]
        upload.content += chunk
    return None if total == "*" else int(total)


def split_multipart(content_type: str, body: bytes) -> tuple[bytes, bytes]:
    """The two parts of a multipart/related body: the job as JSON, and the content.

    Raises:
        ApiError: 400 for anything else.
    """
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise ApiError.invalid("A multipart upload needs a boundary in its Content-Type")
    delimiter = b"--" + match.group(1).encode()
    first = body.find(delimiter)
    second = body.find(b"\r\n" + delimiter, first + 1)
    end = body.rfind(b"\r\n" + delimiter + b"--")
    if first < 0 or second < 0 or end <= second:
        raise ApiError.invalid("A multipart upload must have two parts: the job and its content")
    metadata = body[first + len(delimiter) : second]
    content = body[second + 2 + len(delimiter) : end]
    return _without_headers(metadata), _without_headers(content)


def _without_headers(part: bytes) -> bytes:
    _, separator, content = part.partition(b"\r\n\r\n")
    if not separator:
        raise ApiError.invalid("A part of the multipart upload has no headers")
    return content
