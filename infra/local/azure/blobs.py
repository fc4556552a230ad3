"""The part of Blob Storage's REST API that exports need (Microsoft Learn, "Blob service REST API").

Put Blob, Get Blob with `Range` and `If-Match`, List Blobs with `prefix` and `marker`; accounts and
containers exist once something is put into them. Everything is in memory.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
_PAGE = 100


@dataclass(frozen=True)
class _Blob:
    content: bytes
    modified: datetime

    @property
    def headers(self) -> dict[str, str]:
        etag = hashlib.sha256(self.content + str(self.modified).encode()).hexdigest()[:16]
        return {"ETag": f'"0x{etag}"', "Last-Modified": format_datetime(self.modified, usegmt=True)}


class Blobs:
    """Accounts, containers and blobs."""

    def __init__(self) -> None:
        self._containers: dict[tuple[str, str], dict[str, _Blob]] = {}

    async def container(self, request: Request) -> Response:
        """List Blobs."""
        if not _may(request):
            return _error(401, "NoAuthenticationInformation")
        blobs = self._containers.get(_key(request))
        if blobs is None:
            return _error(404, "ContainerNotFound")
        prefix = request.query_params.get("prefix", "")
        after = request.query_params.get("marker", "")
        names = sorted(name for name in blobs if name.startswith(prefix) and name > after)
        listed = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties>"
            f"<Last-Modified>{blobs[name].headers['Last-Modified']}</Last-Modified>"
            f"<Etag>{escape(blobs[name].headers['ETag'].strip(chr(34)))}</Etag>"
            f"<Content-Length>{len(blobs[name].content)}</Content-Length>"
            "</Properties></Blob>"
            for name in names[:_PAGE]
        )
        marker = escape(names[_PAGE - 1]) if len(names) > _PAGE else ""
        content = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults>'
            f"<Blobs>{listed}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
        )
        return Response(content, media_type="application/xml")

    async def blob(self, request: Request) -> Response:
        """Put Blob, Get Blob and Get Blob Properties."""
        if not _may(request):
            return _error(401, "NoAuthenticationInformation")
        name = request.path_params["blob"]
        if request.method == "PUT":
            made = _Blob(await request.body(), datetime.now(UTC))
            self._containers.setdefault(_key(request), {})[name] = made
            return Response(status_code=201, headers=made.headers)
        blob = self._containers.get(_key(request), {}).get(name)
        if blob is None:
            return _error(404, "BlobNotFound")
        if request.headers.get("If-Match", blob.headers["ETag"]) != blob.headers["ETag"]:
            return _error(412, "ConditionNotMet")
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        if asked is None:
            return Response(blob.content, headers=blob.headers)
        start = int(asked[1])
        end = min(int(asked[2] or len(blob.content)), len(blob.content) - 1)
        if start > end:
            return _error(416, "InvalidRange")
        headers = blob.headers | {"Content-Range": f"bytes {start}-{end}/{len(blob.content)}"}
        return Response(blob.content[start : end + 1], 206, headers)


def _may(request: Request) -> bool:
    """Anybody with a token and a version, without which the service takes no token."""
    has_token = request.headers.get("Authorization", "").startswith("Bearer ")
    return has_token and request.headers.get("x-ms-version", "") >= "2017-11-09"


def _key(request: Request) -> tuple[str, str]:
    return request.path_params["account"], request.path_params["container"]


def _error(status: int, code: str) -> Response:
    content = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'
    return Response(content, status, {"x-ms-error-code": code}, "application/xml")
