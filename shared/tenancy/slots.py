"""A tenant's one ascending sequence of slots, taken in order by job ID.

Three rules keep every limit, whatever the concurrency:

- In order: nobody tries slot n before every slot below n is known to be taken.
- Whoever wins slot n is in. Therefore n is tried only while the runs that the ledger shows,
  together with every slot below n that it does not name yet, are fewer than each limit. Of all runs
  that are in, the one with the highest slot has counted all the others.
- An owner without a row after `GIVE_UP_AFTER_SECONDS` gives its slot up. So a claim that was as old
  as `quota.DEAD_AFTER` when the ledger was read, and has no row in it, is dead and counts no more.
"""

import uuid

from shared.tenancy.quota import DEAD_AFTER, LimitName, Usage
from shared.warehouse import claims

GIVE_UP_AFTER_SECONDS = 180.0
"""From claim to row; far below `DEAD_AFTER`, so that clocks may differ by minutes."""


class Slots:
    """Takes slots for runs of one tenant, as far as its limits go, on one reading of its ledger."""

    def __init__(self, tenant_id: str, usage: Usage, settled: int) -> None:
        """Begin above what the ledger names.

        Args:
            tenant_id: whose sequence.
            usage: the ledger, read before any slot is taken here.
            settled: a slot up to which none is in doubt: each has its row or is dead.
        """
        self._tenant_id = tenant_id
        self._usage = usage
        self._owner = str(uuid.uuid4())
        self._next = max(usage.highest, settled) + 1
        self._doubtful = [n for n in range(settled + 1, self._next) if n not in usage.recent]
        """Ascending: taken by others, without a row in the ledger as it was read."""
        self._lowest_is_alive = False
        self._ours: list[int] = []
        """Slots that we took, and whose answer never reached us."""
        self.won: list[int] = []
        self.dead: list[int] = []
        """Slots found dead on the way; a REFUNDED row spares others the search."""

    def take(self) -> int:
        """The next slot; its run is in.

        Raises:
            QuotaExceededError: a limit does not allow one more.
            WarehouseBusyError: not now; the slot may be taken, and is dead then.
        """
        while True:
            limit = self._limit_in_the_way()
            if limit:
                raise self._usage.refusal(limit)
            if self._ours:
                slot = self._ours.pop()
            else:
                slot = self._next
                self._next += 1
                if not claims.win(self._key(slot), self._owner):
                    self._doubtful.append(slot)
                    continue
            self.won.append(slot)
            return slot

    def _limit_in_the_way(self) -> LimitName | None:
        """The limit that one more run would pass; looks for dead slots before it says so."""
        while limit := self._usage.exceeded(len(self.won) + len(self._doubtful)):
            if self._usage.exceeded(len(self.won)) or not self._strike_lowest():
                return limit
        return None

    def _strike_lowest(self) -> bool:
        """Strike the lowest doubtful slot if it does not count; if it does, so do all above it."""
        if self._lowest_is_alive or not self._doubtful:
            return False
        slot = self._doubtful[0]
        holder = claims.holder(self._key(slot))
        ours = holder.is_(self._owner)
        if not ours and self._usage.at - holder.taken_at < DEAD_AFTER:
            self._lowest_is_alive = True
            return False
        del self._doubtful[0]
        (self._ours if ours else self.dead).append(slot)
        return True

    def _key(self, slot: int) -> str:
        return f"slot--{self._tenant_id}--{slot}"
