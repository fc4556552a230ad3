"""Pages of a long answer: a cursor holds the sort key of the last row that was given.

Unlike an offset it stays right while rows are added, and the query for the next page costs no more
than the one for the first.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime

from shared.errors import FieldProblem, InvalidInputError

DEFAULT_SIZE = 50
MAX_SIZE = 200


def cursor_of(key: Sequence[str]) -> str:
    """The cursor behind a row with this sort key; opaque to callers."""
    text = json.dumps(list(key), separators=(",", ":"), ensure_ascii=False)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def key_of(cursor: str, length: int) -> list[str]:
    """The sort key in a cursor.

    Raises:
        InvalidInputError: it is no cursor, or not one of this list.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = json.loads(urlsafe_b64decode(padded.encode()))
    except (ValueError, RecursionError):
        key = None
    is_one = isinstance(key, list) and len(key) == length
    if not is_one or not all(isinstance(part, str) and part.isprintable() for part in key):
        raise _not_a_cursor(cursor)
    return list(key)


def moment_cursor(moment: datetime, name: str) -> str:
    """The cursor behind a row of a list that is ordered by a moment, and by a name within it."""
    return cursor_of([moment.isoformat(), name])


def moment_key_of(cursor: str) -> tuple[datetime, str]:
    """The moment and the name in such a cursor.

    Raises:
        InvalidInputError: it is no cursor, or not one of this list.
    """
    text, name = key_of(cursor, 2)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _not_a_cursor(cursor) from None
    if moment.tzinfo is None:
        raise _not_a_cursor(cursor)
    return moment, name


def _not_a_cursor(cursor: str) -> InvalidInputError:
    """What is answered to a cursor that this list did not give."""
    problem = "is no cursor of this list; send `next_cursor` of the page before"
    return InvalidInputError([FieldProblem("cursor", problem, cursor)])
