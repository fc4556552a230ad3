"""What tests use to ask the local Pub/Sub for faults and call counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import struct_pb2


class FaultsClient:
    """Talks to `infra.local.Faults` on the port of the local Pub/Sub."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)

    def set(
        self,
        method: str,
        *,
        times: int = 1,
        code: str = "",
        message: str = "a fault was asked for",
        delay_seconds: float = 0.0,
    ) -> None:
        """Let the next `times` calls of a method ("Publish") wait and, with a code, fail."""
        fault = struct_pb2.Struct()
        fault.update(
            {
                "method": method,
                "times": times,
                "code": code,
                "message": message,
                "delay_seconds": delay_seconds,
            }
        )
        self._call("Set", fault)

    def calls(self) -> dict[str, int]:
        """How often each method was called since the server started."""
        return {
            name: int(count) for name, count in self._call("Calls", struct_pb2.Struct()).items()
        }

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: str, request: Any) -> Any:
        call = self._channel.unary_unary(
            f"/infra.local.Faults/{method}",
            request_serializer=struct_pb2.Struct.SerializeToString,
            response_deserializer=struct_pb2.Struct.FromString,
        )
        return call(request, timeout=5)


@contextmanager
def faults(target: str) -> Iterator[FaultsClient]:
    """A client that closes its channel."""
    client = FaultsClient(target)
    try:
        yield client
    finally:
        client.close()
