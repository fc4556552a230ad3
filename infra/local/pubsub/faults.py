"""Faults on demand and call counts, for tests: what Google's service does on a bad day."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import struct_pb2

from infra.local.pubsub.errors import RequestError, invalid

SERVICE = "infra.local.Faults"


@dataclass
class _Fault:
    times: int
    code: grpc.StatusCode | None
    message: str
    delay_seconds: float


class Faults:
    """What the next calls of a method meet, by the method's short name ("Publish")."""

    def __init__(self, methods: frozenset[str]) -> None:
        self._methods = methods
        self._pending: dict[str, _Fault] = {}
        self._calls: Counter[str] = Counter()

    async def meet(self, method: str) -> None:
        """Count a call and let it meet its fault, if one is due.

        Raises:
            RequestError: the fault is an error; the call must change nothing.
        """
        self._calls[method] += 1
        fault = self._pending.get(method)
        if fault is None:
            return
        fault.times -= 1
        if not fault.times:
            del self._pending[method]
        await asyncio.sleep(fault.delay_seconds)
        if fault.code is not None:
            raise RequestError(fault.code, fault.message)

    async def set(self, request: Any) -> Any:
        """Struct {method, times, code, message, delay_seconds}; `times` 0 takes the fault back."""
        fields = dict(request)
        method = fields.get("method", "")
        if method not in self._methods:
            raise invalid(f"method is {method!r}, must be one of {sorted(self._methods)}")
        times = int(fields.get("times", 1))
        self._pending.pop(method, None)
        if times:
            self._pending[method] = _Fault(
                times=times,
                code=_code(fields.get("code", "")),
                message=fields.get("message", "a fault was asked for"),
                delay_seconds=float(fields.get("delay_seconds", 0)),
            )
        return struct_pb2.Struct()

    async def calls(self, _request: Any) -> Any:
        """Struct of method to number of calls since the start."""
        counts = struct_pb2.Struct()
        counts.update(dict(self._calls))
        return counts


def _code(name: str) -> grpc.StatusCode | None:
    if not name:
        return None
    try:
        return grpc.StatusCode[name]
    except KeyError as error:
        codes = ", ".join(code.name for code in grpc.StatusCode)
        raise invalid(f"code is {name!r}, must be empty or one of {codes}") from error
