"""`Idempotency-Key`: one key, one request.

The key names the run, so a second request with the key and another template, date or variable would
be mixed into the run of the first. What the key was used for is claimed under the run's ID, once.
"""

import json
from typing import Any

from shared.errors import ConflictError
from shared.processors.contract import RunIdentity
from shared.warehouse import claims


class KeyReusedError(ConflictError):
    """The key belongs to another request."""

    code = "idempotency-key-reused"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"Idempotency-Key {key!r} was used for another request. Repeat that request as it was,"
            " or send a new key."
        )


def claim_key(key: str, run: RunIdentity) -> None:
    """Bind `key` to what `run` is about, or find it bound to the same.

    Raises:
        KeyReusedError: it is bound to something else.
        WarehouseBusyError: not now.
    """
    about = [run.provider, run.domain, run.template_name, str(run.date), run.parameters]
    bind(key, run.pipeline_logging_id, about)


def bind(key: str, named: str, about: list[Any]) -> None:
    """Bind `key` to a request, or find it bound to the same.

    Args:
        key: as it was sent.
        named: the ID of what the key names.
        about: what the request asks for.

    Raises:
        KeyReusedError: it is bound to something else.
        WarehouseBusyError: not now.
    """
    fingerprint = json.dumps(about, sort_keys=True, default=str)
    claim = f"request--{named}"
    if claims.win(claim, fingerprint) or claims.holder(claim).is_(fingerprint):
        return
    raise KeyReusedError(key)
