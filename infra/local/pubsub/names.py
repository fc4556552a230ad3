"""Resource names: their grammar, and the tokens that page through lists of them."""

import base64
import binascii
import re
from collections.abc import Iterable

from infra.local.pubsub.errors import invalid

DELETED_TOPIC = "_deleted-topic_"
_LARGEST_PAGE = 1000
_DEFAULT_PAGE = 100

# Pub/Sub, "Guidelines to name a topic or a subscription": 3-255 characters, starts with a letter,
# not with "goog".
_NAME = re.compile(
    r"projects/[^/\s]+/(?P<kind>topics|subscriptions|snapshots)/"
    r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}"
)
_PROJECT = re.compile(r"projects/[^/\s]+")


def checked(kind: str, name: str) -> str:
    """The name itself.

    Raises:
        RequestError: it is not `projects/{project}/{kind}/{name}` as the service allows.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["kind"] != kind:
        raise invalid(f"Invalid [{kind}] name: (name={name})")
    return name


def checked_project(name: str) -> str:
    """The name itself, or a RequestError when it is not `projects/{project}`."""
    if _PROJECT.fullmatch(name) is None:
        raise invalid(f"Invalid [projects] name: (name={name})")
    return name


def page(names: Iterable[str], size: int, token: str) -> tuple[list[str], str]:
    """One page of the sorted names and the token of the next ("" at the end)."""
    if size < 0:
        raise invalid(f"Invalid page size given (page_size={size}).")
    after = _last_name(token)
    rest = sorted(name for name in names if name > after)
    limit = min(size or _DEFAULT_PAGE, _LARGEST_PAGE)
    shown = rest[:limit]
    more = base64.urlsafe_b64encode(shown[-1].encode()).decode() if len(rest) > limit else ""
    return shown, more


def _last_name(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid(f"Invalid page token given (page_token={token}).") from error
