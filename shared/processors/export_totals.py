"""What the rows of an export come to, added up while they are read."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.processors.amounts import text, total

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Measures:
    """The columns of an export that say how much of which currency, and when."""

    period: str
    cost: str
    currency: str


@dataclass
class Total:
    """Rows and cost by currency; filled while rows are read."""

    rows: int = 0
    by_currency: dict[str | None, tuple[int, Decimal]] = field(default_factory=dict)

    def add(self, batch: "pa.RecordBatch", measures: Measures) -> None:
        """Add rows of the table's columns."""
        import pyarrow as pa

        self.rows += batch.num_rows
        table = pa.Table.from_batches([batch])
        groups = table.group_by(measures.currency).aggregate(
            [(measures.cost, "sum"), ([], "count_all")]
        )
        for group in groups.to_pylist():
            currency = group[measures.currency]
            rows, cost = self.by_currency.get(currency, (0, Decimal(0)))
            added = Decimal(str(group[f"{measures.cost}_sum"] or 0))
            self.by_currency[currency] = (rows + group["count_all"], total([cost, added]))

    def entries(self, period: date) -> list[dict[str, Any]]:
        """As a step's output: one entry a currency; the period is its first day."""
        return [
            {"period": period.isoformat(), "currency": currency, "rows": rows, "cost": text(cost)}
            for currency, (rows, cost) in self.by_currency.items()
        ]
