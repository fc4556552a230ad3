"""Messages of `run-requests` of this version, of the one before and of the one to come."""

import json
from datetime import date
from typing import Any

import pytest

from shared.engine.delivery import Delivery, MalformedMessageError
from shared.schedules.requests import parse

LEAST: dict[str, Any] = {
    "tenant_id": "acme_corp",
    "pipeline_logging_id": "0b6f5c1e-2a3d-4d1c-8b4a-5d1f6a7b8c9d",
    "provider": "gcp",
    "domain": "cost",
    "pipeline_template": "cost_billing",
    "date": "2025-11-15",
}


def delivery(data: bytes) -> Delivery:
    return Delivery(data=data, attributes={}, message_id="1", subscription="s", attempt=1)


def test_new_fields_have_defaults_and_unknown_ones_are_ignored() -> None:
    request = parse(delivery(json.dumps({**LEAST, "of_tomorrow": 1, "version": 2}).encode()))

    assert request.date == date(2025, 11, 15)
    assert (request.trigger_type, request.priority, request.waited) == ("scheduled", 5, False)
    assert (request.config_id, request.backfill_id, request.expires_at) == (None, None, None)


def test_a_tenant_that_can_be_none_is_malformed() -> None:
    with pytest.raises(MalformedMessageError):
        parse(delivery(json.dumps({**LEAST, "tenant_id": "a`; DROP TABLE b"}).encode()))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'{"tenant_id": "acme"}'])
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse(delivery(data))
