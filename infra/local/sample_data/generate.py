"""Draws the rows of an export: deterministic, one day of arrival at a time.

Only what differs from row to row is drawn in Python; everything else is taken from the table of
lines by index, so 200,000 nested rows take seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import NamedTuple

import pyarrow as pa

from infra.local.sample_data.lines import Line, constants, lines
from infra.local.sample_data.schema import (
    ARROW_SCHEMA,
    ARROW_TYPES,
    DETAILED_ARROW_SCHEMA,
)

_HOUR = 3600
_DAY = 24 * _HOUR
_BATCH = 4 * _HOUR
"""Google appends to an export several times a day; all rows of a batch share its export_time."""

_CORRECTED = 0.006
"""Share of rows that are negated and replaced later: two more rows each."""

CREDITS = (
    ("Sustained Usage Discount", "SUSTAINED_USAGE_DISCOUNT", "Sustained Usage Discount"),
    ("commitment-cpu-1yr", "COMMITTED_USAGE_DISCOUNT", "Committed Usage Discount: CPU"),
    ("cud-flex", "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE", "Committed use discount: flexible"),
    ("free-tier", "FREE_TIER", "Free tier"),
    ("startup-2025-a", "PROMOTION", "Startup program, first grant"),
    ("startup-2025-b", "PROMOTION", "Startup program, second grant"),
)
_SUSTAINED, _COMMITTED, _FLEXIBLE, _FREE, _PROMOTION, _SECOND_PROMOTION = range(len(CREDITS))

ADJUSTMENTS = (
    ("usage-correction-2025-11", "Usage was metered twice", "USAGE_CORRECTION",
     "COMPLETE_NEGATION_WITH_REMONETIZATION"),
    ("goodwill-2025-11", "Goodwill after an incident", "GOODWILL", "MANUAL_ADJUSTMENT"),
)  # fmt: skip
_CORRECTION, _GOODWILL = range(len(ADJUSTMENTS))

COST_TYPES = {"regular": 0, "tax": 1, "rounding": 2, "manual": 3}
_COST_TYPE_NAMES = ("regular", "tax", "rounding_error", "adjustment")
_ADJUSTMENT = 3


@dataclass(frozen=True)
class Shape:
    """How much to generate. Equal shapes give equal bytes."""

    rows: int = 200_000
    days: int = 35
    end: date = date(2025, 11, 20)
    """Last day of usage and of arrival."""
    seed: int = 20251120

    def __post_init__(self) -> None:
        least = 40 * self.days
        if self.days < 1 or self.rows < least:
            raise ValueError(f"{self.days} days need at least {least} rows, not {self.rows}")

    @property
    def start(self) -> date:
        """First day."""
        return self.end - timedelta(days=self.days - 1)


class _Row(NamedTuple):
    """What differs from row to row; times in seconds since the epoch."""

    line: int
    cost_type: int
    usage_start: int
    export: int
    amount: float
    cost: float
    credits: tuple[tuple[int, float], ...] = ()
    """Kind and amount."""
    adjustment: int | None = None


def rows(shape: Shape | None = None, *, detailed: bool = False) -> Iterator[tuple[date, pa.Table]]:
    """The export by day of arrival, oldest first: a partition's day and its rows.

    The detailed export has the same rows, and says of each what was used.
    """
    shape = shape or Shape()
    first = _epoch(shape.start) // _DAY
    by_day: list[list[_Row]] = [[] for _ in range(shape.days)]
    for row in sorted(_draw(shape), key=lambda row: row.export):
        by_day[row.export // _DAY - first].append(row)
    for number, arrived in enumerate(by_day):
        yield shape.start + timedelta(days=number), _table(arrived, detailed=detailed)


def _draw(shape: Shape) -> list[_Row]:
    random = Random(shape.seed)  # noqa: S311 - sample data
    invoice = list(_invoice_rows(shape, random))
    left = shape.rows - len(invoice)
    corrected = int(left * _CORRECTED)
    regular = list(_regular_rows(shape, random, left - 2 * corrected))
    return [*invoice, *regular, *_corrections(shape, random, regular, corrected)]


def _invoice_rows(shape: Shape, random: Random) -> Iterator[_Row]:
    """Taxes every day, rounding errors where a month ends, a goodwill adjustment a week."""
    start = _epoch(shape.start)
    for number, line in enumerate(lines()):
        if line.kind == "regular":
            continue
        adjustment = _GOODWILL if line.kind == "manual" else None
        for day in range(shape.days):
            if _is_posted(line.kind, shape.start + timedelta(days=day), day):
                used = start + day * _DAY + 6 * _HOUR
                cost = line.hourly * (0.6 + 0.8 * random.random())
                kind = COST_TYPES[line.kind]
                export = _batch(used + 3 * _HOUR)
                yield _Row(number, kind, used, export, 0.0, cost, adjustment=adjustment)


def _is_posted(kind: str, day: date, number: int) -> bool:
    if kind == "rounding":
        return (day + timedelta(days=1)).day == 1
    return kind == "tax" or number % 7 == 3


def _regular_rows(shape: Shape, random: Random, count: int) -> Iterator[_Row]:
    everything = lines()
    numbers = [number for number, line in enumerate(everything) if line.kind == "regular"]
    chosen = random.choices(numbers, [everything[number].weight for number in numbers], k=count)
    start = _epoch(shape.start)
    activity = [_activity(shape.start + timedelta(days=day)) for day in range(shape.days)]
    days = random.choices(range(shape.days), activity, k=count)
    end = start + shape.days * _DAY
    for number, day in zip(chosen, days, strict=True):
        line = everything[number]
        used = start + day * _DAY + int(24 * random.random()) * _HOUR
        export = _batch(used + _HOUR + _delay(random))
        if export >= end:  # the export is as of the last day's end: used early enough to be in it
            used = end - _DAY + int(13 * random.random()) * _HOUR
            export = _batch(used + 3 * _HOUR)
        amount = line.hourly * (0.25 + 1.5 * random.random())
        if line.pricing_unit == "count":
            amount = float(int(amount) + 1)
        cost = amount * line.price
        yield _Row(number, 0, used, export, amount, cost, _credits(line, cost, random))


def _corrections(shape: Shape, random: Random, regular: list[_Row], count: int) -> Iterator[_Row]:
    """Negate rows days after they arrived, and put smaller ones in their place."""
    end = _epoch(shape.start) + shape.days * _DAY
    early = [row for row in regular if row.export < end - 2 * _DAY] or regular
    for row in random.sample(early, count):
        days_left = (end - 1 - row.export) // _DAY
        later = row.export + random.randint(min(1, days_left), days_left) * _DAY
        for factor in (-1.0, 0.5):
            yield row._replace(
                cost_type=_ADJUSTMENT,
                export=later,
                amount=row.amount * factor,
                cost=row.cost * factor,
                credits=tuple((kind, amount * factor) for kind, amount in row.credits),
                adjustment=_CORRECTION,
            )


def _delay(random: Random) -> int:
    """Seconds from the end of a usage window to its arrival: hours mostly, days at times."""
    kind = random.random()
    if kind < 0.85:
        return int((2 + 7 * random.random()) * _HOUR)
    if kind < 0.97:
        return int((9 + 21 * random.random()) * _HOUR)
    return int((1 + 6 * random.random()) * _DAY)


def _batch(arrived: int) -> int:
    """The export_time of the batch that carries what arrived, on the same day.

    Batches end an odd few minutes before the hour, the same few for everyone.
    """
    number = arrived // _BATCH
    return number * _BATCH + _BATCH - 60 - (number * 7919) % 600


def _activity(day: date) -> float:
    return 0.7 if day.weekday() >= 5 else 1.0


def _credits(line: Line, cost: float, random: Random) -> tuple[tuple[int, float], ...]:
    found: list[tuple[int, float]] = []
    drawn = random.random()
    if "c" in line.discount and drawn < 0.35:
        found.append((_COMMITTED, -cost * 0.37))
    elif "s" in line.discount and drawn < 0.8:
        found.append((_SUSTAINED, -cost * 0.2 * drawn))
    if "d" in line.discount and drawn < 0.3:
        found.append((_FLEXIBLE, -cost * 0.28))
    if "f" in line.discount and drawn > 0.7:
        found.append((_FREE, -cost))
    elif line.account.organization == "globex" and drawn > 0.9:
        found += [(_PROMOTION, -cost * 0.4), (_SECOND_PROMOTION, -cost * 0.1)]
    return tuple(found)


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _table(arrived: list[_Row], *, detailed: bool) -> pa.Table:
    """The rows with all columns, in the order of the published schema."""
    everything = lines()
    picked = [everything[row.line] for row in arrived]
    constant = constants(detailed=detailed).take(
        pa.array([row.line for row in arrived], pa.int64())
    )
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        name: constant.column(name) for name in constant.column_names
    }
    costs = pa.array([row.cost for row in arrived], pa.float64())
    at_list = pa.array(
        [
            row.amount * line.list_price if line.list_price else row.cost
            for row, line in zip(arrived, picked, strict=True)
        ],
        pa.float64(),
    )
    months = [_month(row.usage_start) for row in arrived]
    rates = [line.account.conversion_rate(m) for line, m in zip(picked, months, strict=True)]
    columns |= {
        "invoice": _records("invoice", [months, ["GOOGLE"] * len(months)]),
        "cost_type": pa.array([_COST_TYPE_NAMES[row.cost_type] for row in arrived], pa.string()),
        "usage_start_time": _times([row.usage_start for row in arrived]),
        "usage_end_time": _times([row.usage_start + _HOUR for row in arrived]),
        "export_time": _times([row.export for row in arrived]),
        "cost": costs,
        "currency_conversion_rate": pa.array(rates, pa.float64()),
        "usage": _usage([row.amount for row in arrived], picked),
        "credits": _credit_lists([row.credits for row in arrived]),
        "adjustment_info": _adjustments([row.adjustment for row in arrived]),
        "cost_at_list": at_list,
        "cost_at_effective_price_default": costs,
        "cost_at_list_consumption_model": at_list,
    }
    schema = DETAILED_ARROW_SCHEMA if detailed else ARROW_SCHEMA
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _month(second: int) -> str:
    """Invoice month; invoices close on days of US/Pacific, here always eight hours behind."""
    return f"{datetime.fromtimestamp(second - 8 * _HOUR, UTC):%Y%m}"


def _times(seconds: list[int]) -> pa.Array:
    return pa.array([second * 1_000_000 for second in seconds], pa.timestamp("us", tz="UTC"))


def _records(name: str, values: list[list[str]]) -> pa.Array:
    return pa.StructArray.from_arrays(
        [pa.array(column, pa.string()) for column in values], fields=list(ARROW_TYPES[name])
    )


def _usage(amounts: list[float], picked: list[Line]) -> pa.Array:
    units = [line.unit for line in picked]
    return pa.StructArray.from_arrays(
        [
            pa.array([a * u[1] for a, u in zip(amounts, units, strict=True)], pa.float64()),
            pa.array([unit[0] for unit in units], pa.string()),
            pa.array(amounts, pa.float64()),
            pa.array([line.pricing_unit for line in picked], pa.string()),
        ],
        fields=list(ARROW_TYPES["usage"]),
    )


def _credit_lists(lists: list[tuple[tuple[int, float], ...]]) -> pa.Array:
    offsets = [0]
    for entries in lists:
        offsets.append(offsets[-1] + len(entries))
    flat = [entry for entries in lists for entry in entries]
    kinds = [CREDITS[kind] for kind, _ in flat]
    names = [
        [identifier for identifier, _, _ in kinds],
        [name for _, _, name in kinds],
        [kind for _, kind, _ in kinds],
        [name for _, _, name in kinds],
    ]
    element = ARROW_TYPES["credits"].value_type
    structs = pa.StructArray.from_arrays(
        [
            *(pa.array(column, pa.string()) for column in names),
            pa.array([amount for _, amount in flat], pa.float64()),
        ],
        fields=list(element),
    )
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), structs, type=ARROW_TYPES["credits"]
    )


def _adjustments(numbers: list[int | None]) -> pa.Array:
    known = _records("adjustment_info", [list(column) for column in zip(*ADJUSTMENTS, strict=True)])
    return known.take(pa.array(numbers, pa.int64()))
