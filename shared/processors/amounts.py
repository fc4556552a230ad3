"""Sums of amounts that keep every digit; Python's own decimals round after 28."""

from collections.abc import Iterable
from decimal import Context, Decimal

_EXACT = Context(prec=200)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The sum, exact."""
    found = Decimal(0)
    for amount in amounts:
        found = _EXACT.add(found, amount)
    return found


def difference(one: Decimal, other: Decimal) -> Decimal:
    """`one - other`, exact."""
    return _EXACT.subtract(one, other)


def text(amount: Decimal) -> str:
    """All digits, without an exponent and without zeros at the end."""
    plain = f"{amount.normalize(_EXACT):f}"
    return "0" if plain == "-0" else plain
