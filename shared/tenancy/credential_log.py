"""The log of a tenant's credentials: read as they are now, changed one at a time, appended.

Every change takes the next number of the tenant's one sequence by a claim, after reading everything
that the numbers before it wrote. So two changes at once never undo each other, and a limit that is
checked before a change holds after it.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any

from shared.errors import ConflictError, NotFoundError
from shared.warehouse import claims, rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

VIEW = "tenants.tenant_cloud_credentials"
LOG = "tenants.tenant_cloud_credentials_log"
_STATE = (
    "tenant_id, credential_id, provider, credential_type, credential_name, encrypted_credentials,"
    " kms_key_version, context, is_active, validation_id, validation_status, validation_error,"
    " validation_checked, validation_problems, last_validated_at, expires_at, created_at,"
    " created_by"
)
"""What every row of a credential's log repeats."""
_SETTLE_SECONDS = 5.0
"""How long a change waits for another one to show."""
_ABANDONED_SECONDS = 90.0
"""When a number without a row is given up: its author can no longer be writing.

Three times the timeout of an append."""
_LOOK_AGAIN_SECONDS = 0.1

State = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """The tenant's credentials after change number `revision`."""

    tenant_id: str
    revision: int
    states: tuple[State, ...]

    def find(self, credential_id: str) -> State:
        """The newest state of a credential.

        Raises:
            NotFoundError: the tenant has no such credential, or deleted it.
        """
        for state in self.states:
            if state["credential_id"] == credential_id:
                return state
        raise NotFoundError("Credential", credential_id)

    def named(self, provider: str, name: str) -> State | None:
        """The provider's credential of this name."""
        for state in self.states:
            if (state["provider"], state["credential_name"]) == (provider, name):
                return state
        return None


def read(tenant_id: str) -> Ledger:
    """The tenant's credentials as they are now, newest first.

    Raises:
        WarehouseBusyError: not now.
    """
    newest = rows.read(
        query(
            f"SELECT MAX(revision) AS newest FROM `{LOG}` WHERE tenant_id = @tenant_id",  # noqa: S608 - own names
            tenant_id=tenant_id,
        )
    )
    found = rows.read(
        query(
            f"SELECT {_STATE}, recorded_at, recorded_by FROM `{VIEW}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id ORDER BY created_at DESC, credential_id",
            tenant_id=tenant_id,
        )
    )
    return Ledger(tenant_id, int(newest[0]["newest"] or 0), tuple(found))


def change(tenant_id: str, step: Callable[[Ledger], State | None], *, changed_by: str) -> State:
    """Append what `step` makes of the credentials as they are; the row that was appended.

    `step` may be called several times, until its result follows what it was made of. Where it
    answers None nothing is appended, and the answer is empty.

    Raises:
        ConflictError: other changes of the tenant's credentials are under way.
        Retryable: not now; the change may have been made.
    """
    owner = str(uuid.uuid4())
    give_up = time.monotonic() + _SETTLE_SECONDS
    pause = Event()
    skipped = 0
    while True:
        ledger = read(tenant_id)
        made = step(ledger)
        if made is None:
            return {}
        number = max(ledger.revision, skipped) + 1
        if _claim(tenant_id, number, owner):
            return _append({**made, "revision": number}, changed_by)
        if _is_abandoned(tenant_id, number):
            skipped = number
        elif time.monotonic() >= give_up:
            raise ConflictError(
                f"The credentials of tenant {tenant_id!r} are being changed by another request."
                " Ask again in a moment.",
                retry_after_seconds=_SETTLE_SECONDS,
            )
        else:
            pause.wait(_LOOK_AGAIN_SECONDS)


def record_request(values: Mapping[str, Any], *, recorded_by: str) -> None:
    """Append a state of a queued request, which is no credential.

    Raises:
        WarehouseBusyError: not now; nothing is known of the row.
    """
    _append({**values, "is_active": False}, recorded_by)


def request_rows(tenant_id: str, request_id: str) -> list[State]:
    """What the log says of a queued request, the last word first.

    Raises:
        WarehouseBusyError: not now.
    """
    return rows.read(
        query(
            "SELECT credential_id, provider, request_status, request_error, recorded_at, created_at"  # noqa: S608 - own names
            f" FROM `{LOG}` WHERE tenant_id = @tenant_id AND request_id = @request_id"
            " ORDER BY CASE request_status WHEN 'COMPLETED' THEN 0 WHEN 'FAILED' THEN 1 ELSE 2 END,"
            " recorded_at DESC, sequence DESC",
            tenant_id=tenant_id,
            request_id=request_id,
        )
    )


def validation(tenant_id: str, validation_id: str) -> State | None:
    """The state of a credential that a check has noted; None before it has.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT {_STATE}, recorded_at, recorded_by FROM `{LOG}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND validation_id = @validation_id"
            " ORDER BY recorded_at LIMIT 1",
            tenant_id=tenant_id,
            validation_id=validation_id,
        )
    )
    return found[0] if found else None


def new_state(tenant_id: str, credential_id: str) -> State:
    """The beginning of a new credential's state."""
    names = [name.strip() for name in _STATE.split(",")]
    return {
        **dict.fromkeys(names),
        "tenant_id": tenant_id,
        "credential_id": credential_id,
        "created_at": datetime.now(UTC),
    }


def _claim(tenant_id: str, number: int, owner: str) -> bool:
    key = _key(tenant_id, number)
    return claims.win(key, owner) or claims.holder(key).is_(owner)


def _is_abandoned(tenant_id: str, number: int) -> bool:
    age = datetime.now(UTC) - claims.holder(_key(tenant_id, number)).taken_at
    return age.total_seconds() > _ABANDONED_SECONDS


def _key(tenant_id: str, number: int) -> str:
    return f"credentials--{tenant_id}--{number}"


def _append(values: Mapping[str, Any], recorded_by: str) -> State:
    state = {**values, "recorded_by": recorded_by, **rows.stamp()}
    rows.append(LOG, [Row(str(uuid.uuid4()), state)])
    return state
