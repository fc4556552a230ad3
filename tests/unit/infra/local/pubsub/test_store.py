import asyncio
import sqlite3

import pytest

from infra.local.pubsub.bodies import Bodies
from infra.local.pubsub.store import FORMAT, Statement, Store
from infra.local.service import StartupError

INSERT = (
    "INSERT INTO messages (id, published_at, ordering_key, size, body) VALUES (?, 0.0, '', 1, ?)"
)


def using(directory, steps):
    """Run a coroutine function on a store and close it."""

    async def run():
        store = Store(directory)
        store.start(asyncio.get_running_loop())
        try:
            return await steps(store)
        finally:
            store.close()

    return asyncio.run(run())


@pytest.fixture(params=["memory", "disk"])
def directory(request, tmp_path):
    return tmp_path / "state" if request.param == "disk" else None


def test_what_is_written_is_read_in_order(directory):
    async def steps(store):
        await store.write(Statement(INSERT, [(1, b"one"), (2, b"two")]))
        store.post(Statement("DELETE FROM messages WHERE id = ?", [(1,)]))
        return await store.bodies([1, 2, 3])

    assert using(directory, steps) == [(2, b"two")]


def test_a_failed_write_raises_and_the_store_goes_on(directory):
    async def steps(store):
        with pytest.raises(sqlite3.IntegrityError):
            await store.write(Statement(INSERT, [(1, b"one"), (1, b"again")]))
        await store.write(Statement(INSERT, [(2, b"two")]))
        return await store.bodies([1, 2])

    assert using(directory, steps) == [(2, b"two")]


def test_closing_finishes_what_was_posted(tmp_path):
    async def post(store):
        store.post(Statement(INSERT, [(number, b"x") for number in range(1000)]))

    async def count(store):
        return len(await store.bodies(range(1000)))

    using(tmp_path, post)

    assert using(tmp_path, count) == 1000


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a database at all" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000] + b"\xff" * 20_000),
    ],
    ids=["other file", "overwritten pages"],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage):
    async def fill(store):
        await store.write(Statement(INSERT, [(number, b"x" * 500) for number in range(100)]))

    using(tmp_path, fill)
    path = tmp_path / "pubsub.sqlite"
    damage(path)

    with pytest.raises(StartupError) as refusal:
        Store(tmp_path)

    text = str(refusal.value)
    assert str(path) in text
    assert "move the file away or delete it" in text
    assert "\n" not in text


def test_a_file_of_another_format_is_refused(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "pubsub.sqlite") as connection:
        connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    connection.close()

    with pytest.raises(StartupError, match=f"written in format {FORMAT + 1}"):
        Store(tmp_path)


def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StartupError, match="cannot use the state directory"):
        Store(tmp_path / "file" / "state")


def test_bodies_beyond_the_budget_stay_in_the_store_only(directory):
    async def steps(store):
        bodies = Bodies(store, budget=10_000)
        for number in range(1, 101):
            await store.write(Statement(INSERT, [(number, bytes([number]) * 1000)]))
            bodies.refer(number, 1, bytes([number]) * 1000)
        return bodies.cached_bytes, await bodies.get(range(1, 102))

    cached, found = using(directory, steps)

    assert cached <= 10_000
    assert found == {number: bytes([number]) * 1000 for number in range(1, 101)}


def test_a_body_is_unneeded_when_its_last_subscription_is_done(directory):
    async def steps(store):
        bodies = Bodies(store)
        bodies.refer(1, 2, b"x")
        return bodies.release([1]), bodies.release([1]), bodies.cached_bytes

    assert using(directory, steps) == ([], [1], 0)
