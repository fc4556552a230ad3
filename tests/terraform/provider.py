"""A Google provider that knows the real one's schema and no cloud: enough for a plan.

Terraform starts it as a plugin (tests/terraform/workspace.py) and asks it over plugin protocol 5,
gRPC on a socket: what resources look like, whether a configuration is right, and what a
resource will be. Terraform itself evaluates every expression and holds it against
`tests/data/terraform/google.json`.

What only the cloud knows is unknown, as in a first plan. With TF_PLAN_RESOLVED it is what the cloud
would say of names and addresses, so that a test can read who is granted what. A data source answers
with made-up values of the right types either way.

Protocol: docs/plugin-protocol of Terraform's repository; values are msgpack, with an extension of
type 0 for an unknown one.
"""

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import msgpack

SCHEMA = Path(__file__).parents[1] / "data" / "terraform" / "google.json"
_UNKNOWN = msgpack.ExtType(0, b"\0")
_NESTING = {"single": 1, "list": 2, "set": 3}
_SAMPLES: dict[str, Any] = {"string": "123456789012", "number": 1, "bool": False}
# What the cloud will call a resource, by its own attributes.
_NAMES: dict[str, dict[str, str]] = {
    "google_artifact_registry_repository": {
        "id": "projects/{project}/locations/{location}/repositories/{repository_id}",
        "name": "{repository_id}",
    },
    "google_cloudfunctions2_function": {"uri": "https://{name}.run.app"},
    "google_kms_crypto_key": {"id": "{key_ring}/cryptoKeys/{name}"},
    "google_kms_key_ring": {"id": "projects/{project}/locations/{location}/keyRings/{name}"},
    "google_project_iam_custom_role": {"id": "projects/{project}/roles/{role_id}"},
    "google_pubsub_topic": {"id": "projects/{project}/topics/{name}"},
    "google_service_account": {
        "email": "{account_id}@{project}.iam.gserviceaccount.com",
        "member": "serviceAccount:{account_id}@{project}.iam.gserviceaccount.com",
        "name": "projects/{project}/serviceAccounts/{account_id}",
    },
}
_FLAGS = {"required": 4, "optional": 5, "computed": 6}

Answer = Callable[[bytes], bytes]
Fill = Callable[[str, Any], Any]
"""The value of a computed attribute, by its name and type."""


# --- Protocol Buffers, as much of them as is needed -----------------------------------------------


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of the fields that have a length."""
    place = 0

    def varint() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = message[place]
            place += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while place < len(message):
        key = varint()
        length = varint()
        if key & 7 == 2:
            yield key >> 3, message[place : place + length]
            place += length


def _value(dynamic: bytes) -> Any:
    return msgpack.unpackb(dict(_fields(dynamic))[1], strict_map_key=False)


def _dynamic(value: Any) -> bytes:
    return _field(1, msgpack.packb(value))


# --- The schema -----------------------------------------------------------------------------------


def _block(block: Mapping[str, Any]) -> bytes:
    attributes = b"".join(
        _field(
            2,
            _field(1, name)
            + _field(2, json.dumps(attribute["type"]))
            + b"".join(_field(number, 1) for flag, number in _FLAGS.items() if attribute.get(flag)),
        )
        for name, attribute in block["attributes"].items()
    )
    nested = b"".join(
        _field(
            3,
            _field(1, name)
            + _field(2, _block(inner["block"]))
            + _field(3, _NESTING[inner["nesting"]])
            + _field(4, inner.get("min_items", 0))
            + _field(5, inner.get("max_items", 0)),
        )
        for name, inner in block["blocks"].items()
    )
    return attributes + nested


def _schema(block: Mapping[str, Any]) -> bytes:
    return _field(2, _block(block))


class Provider:
    """The answers, by the method's name."""

    def __init__(self, schema: Mapping[str, Any], *, resolved: bool = False) -> None:
        self._schema = schema
        self._resolved = resolved
        self.answers: dict[str, Answer] = {
            "GetSchema": self._get_schema,
            "PrepareProviderConfig": lambda request: _field(1, dict(_fields(request))[1]),
            "ValidateResourceTypeConfig": lambda _: b"",
            "ValidateDataSourceConfig": lambda _: b"",
            "Configure": lambda _: b"",
            "PlanResourceChange": self._plan,
            "ReadDataSource": self._read,
            "Stop": lambda _: b"",
        }

    def _get_schema(self, _: bytes) -> bytes:
        return _field(1, _schema(self._schema["provider"])) + b"".join(
            _field(number, _field(1, name) + _field(2, _schema(block)))
            for number, kind in ((2, "resource"), (3, "data"))
            for name, block in self._schema[kind].items()
        )

    def _plan(self, request: bytes) -> bytes:
        fields = dict(_fields(request))
        kind, proposed = fields[1].decode(), _value(fields[3])
        fill = _named(kind, proposed) if self._resolved and proposed else lambda *_: _UNKNOWN
        return _field(1, _dynamic(_filled(proposed, self._schema["resource"][kind], fill)))

    def _read(self, request: bytes) -> bytes:
        fields = dict(_fields(request))
        block = self._schema["data"][fields[1].decode()]
        return _field(1, _dynamic(_filled(_value(fields[2]), block, _sample)))


def _filled(value: Any, block: Mapping[str, Any], fill: Fill) -> Any:
    """`value` with what the cloud decides, and nobody set, filled in."""
    if not isinstance(value, dict):
        return value
    found = dict(value)
    for name, attribute in block["attributes"].items():
        if found.get(name) is None and attribute.get("computed"):
            found[name] = fill(name, attribute["type"])
    for name, inner in block["blocks"].items():
        within = found.get(name)
        if isinstance(within, list):
            found[name] = [_filled(item, inner["block"], fill) for item in within]
        elif isinstance(within, dict):
            found[name] = _filled(within, inner["block"], fill)
    return found


def _named(kind: str, proposed: Mapping[str, Any]) -> Fill:
    """Names that tell what they name."""
    names = _NAMES.get(kind, {})

    def fill(attribute: str, of_type: Any) -> Any:
        if attribute in names:
            return names[attribute].format_map(proposed)
        if of_type != "string":
            return _sample(attribute, of_type)
        return f"{kind}/{proposed.get('name')}" if attribute == "id" else None

    return fill


def _sample(_: str, kind: Any) -> Any:
    return _SAMPLES[kind] if isinstance(kind, str) else {} if kind[0] == "map" else []


# --- The plugin -----------------------------------------------------------------------------------


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, answers: Mapping[str, Answer], stopped: threading.Event) -> None:
        self._answers = answers
        self._stopped = stopped

    def service(self, handler_call_details: Any) -> Any:
        path = str(handler_call_details.method)
        name = path.rpartition("/")[2]
        if path == "/plugin.GRPCController/Shutdown":
            return grpc.unary_unary_rpc_method_handler(self._shut_down)
        if path.startswith("/tfplugin5.Provider/") and name in self._answers:
            answer = self._answers[name]
            return grpc.unary_unary_rpc_method_handler(lambda request, _: answer(request))
        return None

    def _shut_down(self, *_: Any) -> bytes:
        self._stopped.set()
        return b""


def main() -> int:
    """Serve until Terraform says that it is done, or goes away."""
    if "TF_PLUGIN_MAGIC_COOKIE" not in os.environ:
        sys.stderr.write("a plugin of Terraform's, not a command\n")
        return 1
    stopped = threading.Event()
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    provider = Provider(schema, resolved="TF_PLAN_RESOLVED" in os.environ)
    server = grpc.server(futures.ThreadPoolExecutor(8), (_Handler(provider.answers, stopped),))
    with tempfile.TemporaryDirectory(prefix="tf-") as directory:
        address = f"{directory}/plugin"
        server.add_insecure_port(f"unix:{address}")
        server.start()
        sys.stdout.write(f"1|5|unix|{address}|grpc\n")
        sys.stdout.flush()
        while not stopped.wait(1.0) and os.getppid() != 1:
            pass
        server.stop(0.5).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
