"""Which function answers a method and a path: the most specific route."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.topology import Route

# Order of segments at one place, most specific first.
_LITERAL, _ONE, _ANY = 0, 1, 2


@dataclass(frozen=True)
class Match:
    """The function, or the methods that the path has where none is this one."""

    function: str | None
    allowed: Sequence[str] = ()


class RoutingTable:
    """The routes in the order in which they are tried."""

    def __init__(self, routes: Iterable[Route]) -> None:
        ordered = sorted(routes, key=lambda route: (_specificity(route.path), not route.methods))
        self._routes = [
            (_pattern(route.path), frozenset(route.methods), route.function) for route in ordered
        ]

    def match(self, method: str, path: str) -> Match | None:
        """The answering function; None where no route has the path."""
        allowed: set[str] = set()
        known = False
        for pattern, methods, function in self._routes:
            if not pattern.fullmatch(path):
                continue
            known = True
            # A browser's preflight and HEAD belong to whoever answers the path.
            if not methods or method in methods or method in ("HEAD", "OPTIONS"):
                return Match(function)
            allowed |= methods
        return Match(None, sorted(allowed)) if known else None


def _specificity(path: str) -> list[int]:
    kinds = {"*": _ONE, "**": _ANY}
    segments = [kinds.get(segment, _LITERAL) for segment in path.split("/")[1:]]
    # The end of a path is more specific than anything that may follow: /docs before /docs/**.
    return segments if segments[-1] == _ANY else [*segments, -1]


def _pattern(path: str) -> re.Pattern[str]:
    parts = []
    for segment in path.split("/")[1:]:
        if segment == "**":
            parts.append("(/.*)?")
        else:
            parts.append("/" + ("[^/]+" if segment == "*" else re.escape(segment)))
    return re.compile("".join(parts), re.DOTALL)
