"""Everything that the KMS key wraps, after its rotation: wrapped anew by the primary version.

What is left to do is what the log shows under another version, so the work may stop anywhere, be
asked for again, and run twice at once: a data key is wrapped anew at most once too often.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Literal, get_args

from shared import crypto
from shared.crypto import DecryptionError
from shared.errors import ConflictError, NotFoundError, Retryable
from shared.tenancy import api_key_rotation, credential_rotation

_AT_ONCE = 8
Kind = Literal["credential", "api_key"]
_Result = Literal["rewrapped", "nothing", "unreadable", "busy"]
_RESULTS: tuple[_Result, ...] = get_args(_Result)
_REWRAP: dict[Kind, Callable[..., bool]] = {
    "credential": credential_rotation.rewrap,
    "api_key": api_key_rotation.rewrap,
}


@dataclass(frozen=True)
class Item:
    """Something that is wrapped by another version."""

    kind: Kind
    tenant_id: str
    id: str


@dataclass(frozen=True)
class Progress:
    """What a call has done, and what is left."""

    primary: str
    """The version by which everything is to be wrapped."""
    rewrapped: tuple[Item, ...]
    unreadable: tuple[Item, ...]
    """Nothing opens them any more: the version that wraps them is destroyed."""
    remaining: int
    """How many are left for the next call, without those that are unreadable."""


def rewrap_all(*, limit: int, seconds: float, changed_by: str) -> Progress:
    """Wrap about `limit` data keys anew, of every tenant, for about `seconds`.

    Once `remaining` is zero, no living key or credential needs an older version. What is unreadable
    does not count towards the limit, so it holds up nothing.

    Raises:
        Retryable: KMS or BigQuery does not answer; what is done stays done.
    """
    ends = time.monotonic() + seconds
    primary = crypto.primary_version()
    items = [Item("credential", *one) for one in credential_rotation.due(primary)]
    items += [Item("api_key", *one) for one in api_key_rotation.due(primary)]
    found: dict[_Result, list[Item]] = {result: [] for result in _RESULTS}

    def is_enough() -> bool:
        return len(found["rewrapped"]) >= limit or time.monotonic() >= ends

    def work(group: list[Item]) -> None:
        for item in group:
            if is_enough():
                return
            found[_rewrap(item, primary, changed_by)].append(item)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        groups = [pool.submit(copy_context().run, work, group) for group in _groups(items)]
    for done in groups:
        done.result()
    settled = [item for result in _RESULTS if result != "busy" for item in found[result]]
    return Progress(
        primary=primary,
        rewrapped=tuple(found["rewrapped"]),
        unreadable=tuple(found["unreadable"]),
        remaining=len(items) - len(settled),
    )


def _groups(items: list[Item]) -> list[list[Item]]:
    """One group a tenant: changes of one tenant's credentials wait for each other."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.tenant_id].append(item)
    return list(groups.values())


def _rewrap(item: Item, primary: str, changed_by: str) -> _Result:
    rewrap = _REWRAP[item.kind]
    try:
        done = rewrap(item.tenant_id, item.id, primary=primary, changed_by=changed_by)
    except DecryptionError:
        return "unreadable"
    except NotFoundError:  # deleted meanwhile
        return "nothing"
    except (ConflictError, Retryable):
        return "busy"
    return "rewrapped" if done else "nothing"
