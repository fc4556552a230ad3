"""The one exception to "nothing is updated": sealed secrets that nobody may open are overwritten.

A log keeps every state of a credential, so also the envelopes of secrets that were replaced or
deleted. Of every row that the view does not show, the envelope is set to NULL; what happened, when
and by whom stays (docs/adr/0009). Rows that were streamed within the last half hour cannot be
changed (BigQuery documentation, "Streaming data: DML"), so an envelope is overwritten at the first
erasure after an hour: when its tenant is offboarded, at the latest in the next night.
"""

import uuid
from datetime import UTC, datetime, timedelta

from shared.tenancy.credential_log import LOG, VIEW
from shared.warehouse import jobs
from shared.warehouse.jobs import JobSpec
from shared.warehouse.queries import query

SETTLED_AFTER = timedelta(minutes=60)
"""Twice the time that BigQuery protects streamed rows."""
_PATIENCE = timedelta(seconds=50)


def erase(tenant_id: str | None = None, *, older_than: timedelta = SETTLED_AFTER) -> int:
    """Overwrite the secrets that no longer count, of one tenant or of all; how many rows had one.

    One statement. May be repeated, and run at the same time: the second finds nothing.

    Raises:
        WarehouseBusyError: not now; ask again.
        WarehouseError: BigQuery refused.
    """
    now = datetime.now(UTC)
    statement = query(
        f"UPDATE `{LOG}` AS old SET encrypted_credentials = NULL, kms_key_version = NULL"  # noqa: S608 - own names
        " WHERE encrypted_credentials IS NOT NULL AND recorded_at < @before"
        " AND (@tenant_id = '' OR tenant_id = @tenant_id)"
        f" AND NOT EXISTS (SELECT 1 FROM `{VIEW}` AS newest"
        " WHERE newest.tenant_id = old.tenant_id AND newest.credential_id = old.credential_id"
        " AND newest.recorded_at = old.recorded_at AND newest.sequence = old.sequence)",
        before=now - older_than,
        tenant_id=tenant_id or "",
    )
    work = JobSpec(work_id=f"erase-credentials--{uuid.uuid4()}", query=statement)
    return jobs.run(work, now + _PATIENCE).rows_written
