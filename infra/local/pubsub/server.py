"""Starts and stops the local Pub/Sub: one thread with an event loop, one for storage."""

import asyncio
import logging
import threading
from pathlib import Path

import grpc.aio

from infra.local.oidc import TokenIssuer
from infra.local.pubsub.broker import Broker
from infra.local.pubsub.delivery import Lease
from infra.local.pubsub.endpoints import handlers
from infra.local.pubsub.push import Pusher
from infra.local.pubsub.store import Store
from infra.local.pubsub.subscription_config import is_push
from infra.local.pubsub.subscriptions import Subscription
from infra.local.service import RunningService, StartupError, listening_socket

_OPTIONS = [
    ("grpc.so_reuseport", 0),
    # Requests above Google's 10 MB are refused by the service, with its own text.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    # Google's clients ping an idle streaming pull every 30 seconds; gRPC's default for servers
    # is to hang up on that.
    ("grpc.http2.max_ping_strikes", 0),
]
_STOP_SECONDS = 2.0
_GRACE_SECONDS = 0.2
_PAUSE_AFTER_FAILURE_SECONDS = 1.0

_log = logging.getLogger(__name__)


def start(*, host: str, port: int, state: Path | None) -> RunningService:
    """A Pub/Sub that answers on `host:port`; `state` None keeps nothing beyond `stop`.

    Raises:
        StartupError: the port is taken, or the state cannot be read or is used by another server.
    """
    if port:
        listening_socket(host, port).close()
    return PubSubService(host=host, port=port, store=Store(state))


class PubSubService:
    """A running server; `public_key` verifies the tokens of its authenticated pushes."""

    def __init__(self, *, host: str, port: int, store: Store) -> None:
        self.host = host
        self.port = port
        self._store = store
        self._issuer = TokenIssuer()
        self._tasks: dict[asyncio.Task[None], Subscription] = {}
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pubsub", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise StartupError(f"the local Pub/Sub did not start: {self._failure}")

    @property
    def public_key(self) -> str:
        return self._issuer.public_key

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for the start
            self._failure = error
        finally:
            self._store.close()
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._broker = Broker(self._store, on_subscription=self._tend)
        self._broker.load()
        self._store.start(self._loop)
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(handlers(self._broker))
        self.port = server.add_insecure_port(f"{self.host}:{self.port}")
        await server.start()
        for subscription in self._broker.subscriptions.values():
            self._tend(subscription)
        self._started.set()
        await self._stopping.wait()
        await server.stop(_GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tend(self, subscription: Subscription) -> None:
        task = asyncio.get_running_loop().create_task(self._serve_subscription(subscription))
        self._tasks[task] = subscription
        task.add_done_callback(self._tasks.pop)

    async def _serve_subscription(self, subscription: Subscription) -> None:
        """Expire, retry, dead-letter and push, for as long as the subscription exists."""

        def settle(lease: Lease, accepted: bool) -> None:  # noqa: FBT001
            self._broker.pushed(subscription, lease, accepted=accepted)

        pusher = Pusher(
            subscription, bodies=self._broker.bodies, issuer=self._issuer, settle=settle
        )
        try:
            while not subscription.deleted:
                subscription.work.clear()
                await self._work(subscription, pusher)
        finally:
            await pusher.close()

    async def _work(self, subscription: Subscription, pusher: Pusher) -> None:
        try:
            next_change = await self._broker.advance(subscription)
        except Exception:  # noqa: BLE001 - one subscription's trouble must not end its service
            # A full disk, say; the messages are still in the store and in the backlog.
            _log.exception("%s could not be served", subscription.name)
            next_change = self._broker.clock() + _PAUSE_AFTER_FAILURE_SECONDS
        if is_push(subscription.config):
            pusher.dispatch(self._broker.clock())
            next_change = subscription.backlog.next_change()
        else:
            subscription.wake_receivers()
        timeout = None if next_change is None else max(0.0, next_change - self._broker.clock())
        try:
            async with asyncio.timeout(timeout):
                await subscription.work.wait()
        except TimeoutError:
            return
