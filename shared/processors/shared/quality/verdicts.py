"""From facts to verdicts: did the rule hold, and what does one say of it?"""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean, median
from typing import Any

from shared.processors.amounts import difference, text
from shared.processors.shared.quality.rules import (
    AcceptedValues,
    Condition,
    CustomSql,
    Freshness,
    NotNull,
    Range,
    RowCount,
    ScopedRule,
    SumMatches,
    Unique,
)
from shared.processors.shared.quality.statements import Facts


@dataclass(frozen=True)
class Verdict:
    """What was found of one rule."""

    rule: ScopedRule | CustomSql
    passed: bool
    demand: str
    """What the rule asks, in words."""
    observed: str
    expected: str | None = None
    checked: int | None = None
    failed: int | None = None
    samples: Sequence[Any] = ()

    @property
    def sentence(self) -> str:
        """`currency_present: 3 of 120 rows break it, such as {"sku_id": "1"}`."""
        told = f"{self.rule.name}: {self.observed}"
        if isinstance(self.rule, RowCount) and self.expected:
            told += f", expected {self.expected}"
        if self.samples:
            shown = [json.dumps(sample, ensure_ascii=False) for sample in self.samples[:3]]
            told += f", such as {', '.join(shown)}"
        return told


def verdict(rule: ScopedRule | CustomSql, facts: Facts, *, until: dt.datetime) -> Verdict:
    """Hold the facts against the rule.

    Args:
        rule: the rule.
        facts: what was measured for it.
        until: the moment from which the age of data counts.
    """
    if isinstance(rule, NotNull):
        return _of_rows(rule, facts, f"{rule.column} has a value in every row")
    if isinstance(rule, AcceptedValues):
        listed = ", ".join(str(value) for value in rule.values[:20])
        return _of_rows(rule, facts, f"{rule.column} is one of {listed}")
    if isinstance(rule, Range):
        return _of_rows(rule, facts, _range(rule))
    if isinstance(rule, Condition):
        return _of_rows(rule, facts, f"{rule.condition.sql.strip()} is true of every row")
    if isinstance(rule, Unique):
        return _unique(rule, facts)
    if isinstance(rule, RowCount):
        return _row_count(rule, facts)
    if isinstance(rule, Freshness):
        return _freshness(rule, facts, until)
    if isinstance(rule, SumMatches):
        return _sum_matches(rule, facts)
    failed = facts["failed"]
    return Verdict(
        rule,
        passed=failed == 0,
        demand="the query returns no row",
        observed=f"the query returns {_rows(failed)}",
        failed=failed,
        samples=facts["samples"],
    )


def _of_rows(rule: ScopedRule, facts: Facts, demand: str) -> Verdict:
    checked, failed = facts["checked"], facts["failed"]
    return Verdict(
        rule,
        passed=failed == 0,
        demand=demand,
        observed=f"{failed} of {_rows(checked)} break it",
        checked=checked,
        failed=failed,
        samples=facts["samples"],
    )


def _range(rule: Range) -> str:
    limits = [
        words
        for words, limit in (
            (f"at least {rule.minimum}", rule.minimum),
            (f"at most {rule.maximum}", rule.maximum),
        )
        if limit is not None
    ]
    return f"{rule.column} is {' and '.join(limits)}"


def _unique(rule: Unique, facts: Facts) -> Verdict:
    checked, failed = facts["checked"], facts["failed"]
    keys = facts.get("repeated", 0)
    observed = f"{keys} keys in more than one row, {_rows(failed)} too many of {checked}"
    return Verdict(
        rule,
        passed=failed == 0,
        demand=f"no two rows have the same {', '.join(rule.names)}",
        observed=observed,
        checked=checked,
        failed=failed,
        samples=facts.get("samples", ()),
    )


def _row_count(rule: RowCount, facts: Facts) -> Verdict:
    checked: int = facts["checked"]
    low, high = rule.minimum, rule.maximum
    limits: list[tuple[Fraction | int | None, str, bool]] = [
        (low, "at least", checked >= (low or 0)),
        (high, "at most", high is None or checked <= high),
    ]
    observed = _rows(checked)
    if rule.days is not None:
        counted = [count for count in facts.get("history", ()) if count]
        if len(counted) >= rule.minimum_days:
            usual = _usual(rule, counted)
            least, most = (usual * (1 + sign * Fraction(rule.tolerance)) for sign in (-1, 1))
            limits += [(least, "at least", checked >= least), (most, "at most", checked <= most)]
            observed += f"; {rule.against} of {len(counted)} days: {_about(usual)}"
        else:
            observed += f"; nothing to compare with: {len(counted)} days with rows"
    expected = " and ".join(f"{word} {_about(limit)}" for limit, word, _ in limits if limit)
    return Verdict(
        rule,
        passed=all(holds for _, _, holds in limits),
        demand=f"the number of rows is {expected}" if expected else "rows are counted",
        observed=observed,
        expected=expected or None,
        checked=checked,
    )


def _usual(rule: RowCount, counted: Sequence[int]) -> Fraction:
    exact = [Fraction(count) for count in counted]
    return median(exact) if rule.against == "median" else mean(exact)


def _about(number: Fraction | int) -> str:
    """With one decimal where it is no whole number."""
    return f"{number}" if number == int(number) else f"{float(number):.1f}"


def _freshness(rule: Freshness, facts: Facts, until: dt.datetime) -> Verdict:
    allowed = dt.timedelta(hours=float(rule.max_age_hours))
    newest: dt.datetime | None = facts["newest"]
    demand = f"the newest {rule.column} is at most {rule.max_age_hours} hours older than {until}"
    if newest is None:
        return Verdict(rule, False, demand, "there is none", None, facts["checked"])  # noqa: FBT003 - what was found
    age = until - newest
    observed = f"the newest is {newest}, {age / dt.timedelta(hours=1):.1f} hours old"
    return Verdict(rule, age <= allowed, demand, observed, None, facts["checked"])


def _sum_matches(rule: SumMatches, facts: Facts) -> Verdict:
    total, other = facts["total"], facts["other"]
    delta = difference(total, other)
    against = rule.other.table if rule.other else "the query"
    demand = f"the sum of {rule.column} is that of {against}"
    if rule.tolerance:
        demand += f" within {text(rule.tolerance)}"
    return Verdict(
        rule,
        passed=delta.copy_abs() <= rule.tolerance,
        demand=demand,
        observed=f"{text(total)}, which is {text(delta)} off {text(other)}",
        expected=text(other),
        checked=facts["checked"],
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
