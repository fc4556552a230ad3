"""From broker to gRPC: handlers, statuses, faults."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import struct_pb2

from infra.local.pubsub import faults, wire
from infra.local.pubsub.broker import Broker
from infra.local.pubsub.errors import RequestError
from infra.local.pubsub.faults import Faults
from infra.local.pubsub.servicer import EMPTY_PULL_SECONDS, Publisher, Subscriber, Unary

Handler = Callable[[Any, Any], Awaitable[Any]]

# An answer to a pull that comes together with the client's deadline would be lost.
_PULL_MARGIN_SECONDS = 0.25


def handlers(broker: Broker) -> list[grpc.GenericRpcHandler]:
    """Everything that the server answers."""
    publisher, subscriber = Publisher(broker), Subscriber(broker)
    unary = publisher.methods(), subscriber.methods()
    counted = Faults(frozenset({*unary[0], *unary[1], "Pull", "StreamingPull"}))
    subscriber_handlers = {
        **{name: _unary(name, method, counted) for name, method in unary[1].items()},
        "Pull": _pull(subscriber, counted),
        "StreamingPull": _streaming_pull(subscriber, counted),
    }
    return [
        grpc.method_handlers_generic_handler(
            publisher.NAME,
            {name: _unary(name, method, counted) for name, method in unary[0].items()},
        ),
        grpc.method_handlers_generic_handler(subscriber.NAME, subscriber_handlers),
        grpc.method_handlers_generic_handler(
            faults.SERVICE,
            {
                "Set": _answering(struct_pb2.Struct, _simple(counted.set)),
                "Calls": _answering(struct_pb2.Struct, _simple(counted.calls)),
            },
        ),
    ]


def _unary(name: str, method: Unary, counted: Faults) -> grpc.RpcMethodHandler:
    async def handle(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            await counted.meet(name)
            # A client that gives up must not stop a change half-way.
            return await asyncio.shield(asyncio.ensure_future(method.run(request)))
        except RequestError as error:
            await context.abort(error.code, error.text)

    return _answering(method.request, handle)


def _pull(subscriber: Subscriber, counted: Faults) -> grpc.RpcMethodHandler:
    async def handle(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            await counted.meet("Pull")
            left = context.time_remaining()
            seconds = EMPTY_PULL_SECONDS
            if left is not None:
                seconds = max(0.0, min(seconds, left - _PULL_MARGIN_SECONDS))
            return await subscriber.pull(request, seconds)
        except RequestError as error:
            await context.abort(error.code, error.text)

    return _answering(wire.PullRequest, handle)


def _streaming_pull(subscriber: Subscriber, counted: Faults) -> grpc.RpcMethodHandler:
    async def handle(
        requests: AsyncIterator[Any], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        try:
            await counted.meet("StreamingPull")
            async for response in subscriber.streaming_pull(requests):
                yield response
        except RequestError as error:
            await context.abort(error.code, error.text)

    return grpc.stream_stream_rpc_method_handler(
        handle,
        request_deserializer=wire.StreamingPullRequest.FromString,
        response_serializer=wire.StreamingPullResponse.SerializeToString,
    )


def _simple(run: Callable[[Any], Awaitable[Any]]) -> Handler:
    async def handle(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await run(request)
        except RequestError as error:
            await context.abort(error.code, error.text)

    return handle


def _answering(request: Any, handle: Handler) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
