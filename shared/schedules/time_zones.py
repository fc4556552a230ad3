"""IANA time zones: which there are, and which one somebody may have meant."""

import zoneinfo
from functools import cache

from shared.errors import nearest

_NOT_FOR_SCHEDULES = frozenset({"localtime", "Factory", "posixrules"})
"""Names of the machine's own zone and of placeholders (tz database, "Theory")."""
_ABBREVIATIONS = {
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "MDT": "America/Denver",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "EDT": "America/New_York",
    "BST": "Europe/London",
    "CEST": "Europe/Berlin",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney",
}


def problem(name: str) -> str | None:
    """Why `name` is no time zone of a schedule, with near names; None when it is one."""
    if name in _known():
        return None
    near = _near(name)
    hint = f"did you mean {' or '.join(near)}?" if near else "write one such as America/New_York"
    shown = name if len(name) <= 60 else f"{name[:60]}..."
    return f"{shown!r} is not an IANA time zone; {hint}"


@cache
def _known() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - _NOT_FOR_SCHEDULES


def _near(name: str) -> list[str]:
    """Zones that are written almost so, or whose city is."""
    wanted = name.strip().replace(" ", "_").casefold()[:60]
    if wanted.upper() in _ABBREVIATIONS:
        return [_ABBREVIATIONS[wanted.upper()]]
    whole = {zone.casefold(): zone for zone in sorted(_known())}
    cities = {zone.casefold().rpartition("/")[2]: zone for zone in sorted(_known())}
    for names in (whole, cities):
        if wanted in names:
            return [names[wanted]]
    city = wanted.rpartition("/")[2]
    if city in cities:
        return [cities[city]]
    found = nearest(wanted, list(whole)) or nearest(city, list(cities))
    return list(dict.fromkeys(whole.get(entry) or cities[entry] for entry in found))
