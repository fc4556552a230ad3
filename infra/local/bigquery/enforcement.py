"""Everything that holds the limits, in one place for those who are held to them."""

from infra.local.bigquery.dml_queues import DmlQueues
from infra.local.bigquery.faults import Faults
from infra.local.bigquery.limits import Limits
from infra.local.bigquery.request_rates import RequestRates
from infra.local.bigquery.streaming_buffers import StreamingBuffers
from infra.local.bigquery.table_operations import TableOperations


class Enforcement:
    """The limits of one server."""

    def __init__(self, limits: Limits | None = None, faults: Faults | None = None) -> None:
        """Without `limits`, only sizes hold."""
        self.limits = limits or Limits()
        self.requests = RequestRates(self.limits)
        self.tables = TableOperations(self.limits)
        self.dml = DmlQueues(self.limits, faults or Faults())
        self.buffers = StreamingBuffers(self.limits)

    @property
    def active(self) -> bool:
        """Whether rates, queues and delays hold."""
        return self.limits.enforced
