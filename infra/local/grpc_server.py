"""gRPC servers out of plain methods: one method a call of Google's API, errors as exceptions."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from infra.local.service import StartupError, listening_socket

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

Handler = Callable[[Any], Any]


class RpcError(Exception):
    """Ends a call with a status, as Google words it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def not_found(message: str) -> RpcError:
    return RpcError(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> RpcError:
    return RpcError(grpc.StatusCode.ALREADY_EXISTS, message)


def invalid_argument(message: str) -> RpcError:
    return RpcError(grpc.StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> RpcError:
    return RpcError(grpc.StatusCode.FAILED_PRECONDITION, message)


class GrpcService:
    """A gRPC server that answers `methods` of one service until `stop`.

    `methods` maps a method's name to (handler, request type, response type); the types are those of
    Google's client libraries (proto-plus), or protobuf's own.
    """

    def __init__(
        self,
        service: str,
        methods: Mapping[str, tuple[Handler, Any, Any]],
        *,
        host: str,
        port: int,
        on_stop: Callable[[], None],
    ) -> None:
        # gRPC reports a taken port by a RuntimeError without a reason, after logging one itself.
        listening_socket(host, port).close()
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                _answer(handler),
                request_deserializer=request.deserialize,
                response_serializer=response.serialize
                if hasattr(response, "serialize")
                else response.SerializeToString,
            )
            for name, (handler, request, response) in methods.items()
        }
        self._on_stop = on_stop
        self._stopped = False
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=16, thread_name_prefix=service.rsplit(".", 1)[-1]),
            handlers=[grpc.method_handlers_generic_handler(service, handlers)],
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ],
        )
        self.host = host
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {host}:{port}: {error}") from error
        self._server.start()

    def stop(self) -> None:
        """Refuse new calls, give open ones half a second, close the state."""
        if self._stopped:
            return
        self._stopped = True
        self._server.stop(grace=0.5).wait(1.5)
        self._on_stop()


def _answer(handler: Handler) -> Callable[[Any, grpc.ServicerContext], Any]:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handler(request)
        except RpcError as error:
            context.abort(error.code, str(error))

    return answer


def page(items: list[Any], size: int, token: str, *, largest: int) -> tuple[list[Any], str]:
    """One page of `items` and the token of the next one (`""` after the last).

    Raises:
        RpcError: INVALID_ARGUMENT for a token that no earlier page gave, or a negative size.
    """
    if size < 0 or (token and not token.isdecimal()):
        raise invalid_argument("Request contains an invalid argument.")
    start = int(token or 0)
    end = start + min(size or largest, largest)
    return items[start:end], str(end) if end < len(items) else ""
