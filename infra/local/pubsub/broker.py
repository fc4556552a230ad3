"""Topics, subscriptions and the way of a message between them.

One event loop owns all of it, so there are no locks: state changes happen between two awaits.
What must survive is committed before anybody is told (`Store.write`); what may repeat after a
crash (push acknowledgements, attempt counters) follows without waiting (`Store.post`). A coroutine
that changes something must run to its end once it started: a caller that may be cancelled shields
it (`servicer.py`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from infra.local.pubsub import names, subscription_config, topic_config, wire
from infra.local.pubsub.bodies import Bodies
from infra.local.pubsub.delivery import Entry, Lease
from infra.local.pubsub.errors import already_exists, not_found
from infra.local.pubsub.messages import Message, Stamp, dead_letter, now
from infra.local.pubsub.store import Statement, Store
from infra.local.pubsub.subscriptions import Subscription


@dataclass
class Topic:
    config: Any
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


Target = tuple[Subscription, list[Message]]


class Broker:
    """The service behind the gRPC methods; `on_subscription` is told of each one that exists."""

    def __init__(
        self,
        store: Store,
        *,
        on_subscription: Callable[[Subscription], None],
        clock: Callable[[], float] = now,
    ) -> None:
        self.clock = clock
        self.bodies = Bodies(store)
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self._store = store
        self._on_subscription = on_subscription
        self._rows = 0
        self._stamp = Stamp(clock)

    def load(self) -> None:
        """Read the stored state, before `Store.start`; what is unacknowledged is deliverable."""
        for (config,) in self._store.query("SELECT config FROM topics"):
            topic = wire.Topic.FromString(config)
            self.topics[topic.name] = Topic(topic)
        by_row = {}
        for row, config in self._store.query("SELECT id, config FROM subscriptions"):
            subscription = Subscription(row, wire.Subscription.FromString(config), self.clock)
            by_row[row] = subscription
            self._rows = max(self._rows, row)
            self._attach(subscription)
        # Published while its only subscription was being deleted, and then killed.
        self._store.query("DELETE FROM messages WHERE id NOT IN (SELECT message FROM deliveries)")
        last_id = 0
        for row, message_id, failures, published_at, key, size in self._store.query(
            "SELECT d.subscription, m.id, d.failures, m.published_at, m.ordering_key, m.size"
            " FROM deliveries d JOIN messages m ON m.id = d.message ORDER BY m.id"
        ):
            by_row[row].backlog.add(
                message_id, key=key, size=size, published_at=published_at, failures=failures
            )
            self.bodies.refer(message_id, 1)
            last_id = message_id
        self._stamp = Stamp(self.clock, last_id)

    def topic(self, name: str) -> Topic:
        """The topic, or a RequestError (NOT_FOUND, or INVALID_ARGUMENT for a malformed name)."""
        found = self.topics.get(names.checked("topics", name))
        if found is None:
            raise not_found(name)
        return found

    def subscription(self, name: str) -> Subscription:
        """The subscription, or a RequestError like that of `topic`."""
        found = self.subscriptions.get(names.checked("subscriptions", name))
        if found is None:
            raise not_found(name)
        return found

    async def create_topic(self, request: Any) -> Any:
        config = topic_config.created(request)
        if config.name in self.topics:
            raise already_exists(config.name)
        self.topics[config.name] = Topic(config)
        await self._save_topic(config)
        return config

    async def update_topic(self, request: Any) -> Any:
        topic = self.topic(request.topic.name)
        topic.config = topic_config.updated(topic.config, request)
        await self._save_topic(topic.config)
        return topic.config

    async def delete_topic(self, name: str) -> None:
        """Its subscriptions stay, with what they hold, and show `_deleted-topic_`."""
        topic = self.topic(name)
        del self.topics[name]
        rows = []
        for subscription in topic.subscriptions.values():
            subscription.config.topic = names.DELETED_TOPIC
            rows.append((subscription.config.SerializeToString(), subscription.row))
        await self._store.write(
            Statement("DELETE FROM topics WHERE name = ?", [(name,)]),
            Statement("UPDATE subscriptions SET config = ? WHERE id = ?", rows),
        )

    async def create_subscription(self, request: Any) -> Any:
        config = subscription_config.created(request)
        if config.name in self.subscriptions:
            raise already_exists(config.name)
        self.topic(config.topic)
        self._require_dead_letter_topic(config)
        self._rows += 1
        subscription = Subscription(self._rows, config, self.clock)
        self._attach(subscription)
        await self._store.write(
            Statement(
                "INSERT INTO subscriptions (id, name, config) VALUES (?, ?, ?)",
                [(subscription.row, config.name, config.SerializeToString())],
            )
        )
        self._on_subscription(subscription)
        return config

    async def update_subscription(self, request: Any) -> Any:
        subscription = self.subscription(request.subscription.name)
        config = subscription_config.updated(subscription.config, request)
        self._require_dead_letter_topic(config)
        return await self._configure(subscription, config)

    async def modify_push_config(self, name: str, push_config: Any) -> None:
        subscription = self.subscription(name)
        config = subscription_config.with_push_config(subscription.config, push_config)
        await self._configure(subscription, config)

    async def delete_subscription(self, name: str) -> None:
        subscription = self.subscription(name)
        del self.subscriptions[name]
        topic = self.topics.get(subscription.config.topic)
        if topic is not None:
            del topic.subscriptions[name]
        subscription.deleted = True
        subscription.wake()
        unneeded = self.bodies.release(subscription.backlog.message_ids())
        await self._store.write(
            Statement("DELETE FROM subscriptions WHERE id = ?", [(subscription.row,)]),
            Statement("DELETE FROM deliveries WHERE subscription = ?", [(subscription.row,)]),
            _forget(unneeded),
        )

    async def publish(self, name: str, messages: Iterable[Any]) -> list[str]:
        """Commit the messages for every subscription that wants them; their IDs."""
        topic = self.topic(name)
        stamped = [self._stamp.message(message) for message in messages]
        await self._commit(topic, stamped)
        return [str(message.message_id) for message in stamped]

    async def acknowledge(self, subscription: Subscription, ack_ids: list[str]) -> None:
        """Durable when it returns: these deliveries do not come again, not after a crash either."""
        finished = subscription.acknowledge(subscription.parsed(ack_ids))
        await self._store.write(*self._finishing(subscription, finished))

    def pushed(self, subscription: Subscription, lease: Lease, *, accepted: bool) -> None:
        """A push ended; an acknowledgement that is lost in a crash only repeats the push."""
        if accepted:
            finished = subscription.acknowledge([(lease.message_id, lease.generation)])
            self._store.post(*self._finishing(subscription, finished))
        else:
            subscription.backlog.nack(lease.message_id, lease.generation, self.clock())
            subscription.wake()

    async def advance(self, subscription: Subscription) -> float | None:
        """Let time pass for a subscription; when there is something to do next."""
        backlog = subscription.backlog
        backlog.advance(self.clock())
        effects = backlog.drain()
        if effects.failures:
            rows = [(n, subscription.row, key) for key, n in effects.failures.items()]
            self._store.post(
                Statement(
                    "UPDATE deliveries SET failures = ? WHERE subscription = ? AND message = ?",
                    rows,
                )
            )
        if effects.outdated:
            self._store.post(*self._finishing(subscription, effects.outdated))
        if effects.exhausted:
            await self._forward(subscription, effects.exhausted)
        return backlog.next_change()

    def _attach(self, subscription: Subscription) -> None:
        self.subscriptions[subscription.name] = subscription
        topic = self.topics.get(subscription.config.topic)
        if topic is not None:
            topic.subscriptions[subscription.name] = subscription

    def _require_dead_letter_topic(self, config: Any) -> None:
        if config.HasField("dead_letter_policy"):
            self.topic(config.dead_letter_policy.dead_letter_topic)

    async def _save_topic(self, config: Any) -> None:
        row = (config.name, config.SerializeToString())
        await self._store.write(
            Statement("INSERT OR REPLACE INTO topics (name, config) VALUES (?, ?)", [row])
        )

    async def _configure(self, subscription: Subscription, config: Any) -> Any:
        subscription.configure(config)
        await self._store.write(
            Statement(
                "UPDATE subscriptions SET config = ? WHERE id = ?",
                [(config.SerializeToString(), subscription.row)],
            )
        )
        return config

    async def _commit(self, topic: Topic, messages: list[Message], *also: Statement) -> None:
        targets: list[Target] = [
            (subscription, wanted)
            for subscription in topic.subscriptions.values()
            if (wanted := [message for message in messages if subscription.wants(message)])
        ]
        needed = {message.message_id: message for _, wanted in targets for message in wanted}
        if needed or also:
            await self._store.write(*_storing(needed.values(), targets), *also)
        self._deliver(needed.values(), targets)

    def _deliver(self, messages: Iterable[Message], targets: list[Target]) -> None:
        # A subscription may have been deleted while its messages were being committed.
        alive = [target for target in targets if not target[0].deleted]
        references: dict[int, int] = {}
        for subscription, wanted in alive:
            for message in wanted:
                subscription.take(message)
                references[message.message_id] = references.get(message.message_id, 0) + 1
            subscription.wake()
        unneeded = []
        for message in messages:
            if message.message_id in references:
                self.bodies.refer(message.message_id, references[message.message_id], message.body)
            else:
                unneeded.append(message.message_id)
        if unneeded:
            self._store.post(_forget(unneeded))

    async def _forward(self, subscription: Subscription, entries: list[Entry]) -> None:
        """Move exhausted messages to the dead-letter topic, in one commit."""
        topic = self.topics.get(subscription.config.dead_letter_policy.dead_letter_topic)
        if topic is None:
            for entry in entries:
                subscription.backlog.not_forwarded(entry.message_id, self.clock())
            return
        bodies = await self.bodies.get([entry.message_id for entry in entries])
        letters = []
        finished: list[int] = []
        for entry in entries:
            body = bodies.get(entry.message_id)
            if body is not None:
                letter = dead_letter(body, subscription=subscription.name, attempts=entry.failures)
                letters.append(self._stamp.message(letter))
            finished += subscription.backlog.forwarded(entry.message_id, self.clock())
        await self._commit(topic, letters, *self._finishing(subscription, finished))

    def _finishing(self, subscription: Subscription, message_ids: list[int]) -> list[Statement]:
        if not message_ids or subscription.deleted:
            return []
        return [
            Statement(
                "DELETE FROM deliveries WHERE subscription = ? AND message = ?",
                [(subscription.row, message_id) for message_id in message_ids],
            ),
            _forget(self.bodies.release(message_ids)),
        ]


def _forget(message_ids: Iterable[int]) -> Statement:
    rows = [(message_id,) for message_id in message_ids]
    return Statement("DELETE FROM messages WHERE id = ?", rows)


def _storing(messages: Iterable[Message], targets: list[Target]) -> list[Statement]:
    return [
        Statement(
            "INSERT INTO messages (id, published_at, ordering_key, size, body)"
            " VALUES (?, ?, ?, ?, ?)",
            [(m.message_id, m.published_at, m.key, len(m.body), m.body) for m in messages],
        ),
        Statement(
            "INSERT INTO deliveries (subscription, message, failures) VALUES (?, ?, 0)",
            [
                (subscription.row, message.message_id)
                for subscription, wanted in targets
                for message in wanted
            ],
        ),
    ]
