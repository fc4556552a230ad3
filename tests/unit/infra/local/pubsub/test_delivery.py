"""What is delivered when, on a clock that the tests turn."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from infra.local.pubsub.delivery import Backlog, DeliveryRules, RetryPolicy

MINUTE = 60.0


def backlog(*keys, **rules):
    """A backlog with messages 1, 2, ... of these ordering keys, published at 0."""
    made = Backlog(DeliveryRules(ordered=any(keys), **rules))
    for message_id, key in enumerate(keys, 1):
        made.add(message_id, key=key, size=10, published_at=0.0)
    return made


def lease(made, now=0.0, **options):
    return made.lease(now, **{"seconds": 10, "limit": 100, **options})


def ids(leases):
    return [item.message_id for item in leases]


class TestWithoutKeys:
    def test_the_oldest_go_first_and_go_once(self):
        made = backlog("", "", "")

        assert ids(lease(made, limit=2)) == [1, 2]
        assert ids(lease(made)) == [3]
        assert lease(made) == []

    def test_an_acknowledged_message_is_gone(self):
        made = backlog("")
        (one,) = lease(made)

        assert made.acknowledge(1, one.generation, 1.0) == [1]

        made.advance(MINUTE)
        assert lease(made, MINUTE) == []
        assert len(made) == 0
        assert made.next_change() is None

    def test_a_lease_ends_at_its_deadline_and_not_before(self):
        made = backlog("")
        lease(made, 0.0)

        made.advance(9.9)
        assert lease(made, 9.9) == []

        assert made.next_change() == 10.0
        made.advance(10.0)
        (again,) = lease(made, 10.0)
        assert again.attempt == 2

    def test_an_extension_moves_the_end_both_ways(self):
        made = backlog("", "")
        longer, shorter = lease(made)

        made.extend(1, longer.generation, 30.0)
        made.extend(2, shorter.generation, 2.0)

        made.advance(10.0)
        assert ids(lease(made, 10.0)) == [2]
        made.advance(29.0)
        assert 1 not in ids(lease(made, 29.0))
        made.advance(30.0)
        assert 1 in ids(lease(made, 30.0))

    def test_a_delivery_that_is_over_cannot_be_extended_or_nacked(self):
        made = backlog("")
        (first,) = lease(made)
        made.nack(1, first.generation, 0.0)
        (second,) = lease(made)

        made.nack(1, first.generation, 1.0)
        made.extend(1, first.generation, 500.0)

        assert made.is_current(1, second.generation)
        assert made.next_change() == 10.0

    def test_a_late_acknowledgement_counts(self):
        made = backlog("")
        (first,) = lease(made)
        made.advance(10.0)

        assert made.acknowledge(1, first.generation, 11.0) == [1]
        assert lease(made, 11.0) == []

    def test_bytes_bound_a_batch_but_one_message_always_goes(self):
        made = backlog("", "", "")

        assert ids(lease(made, max_bytes=25)) == [1, 2]
        assert ids(lease(made, max_bytes=1)) == [3]

    def test_what_is_out_is_counted_by_receiver(self):
        made = backlog("", "", "")
        first, *_ = lease(made, limit=2, owner="a")
        lease(made, limit=1, owner="b")
        assert (made.held("a").messages, made.held("a").size) == (2, 20)

        made.acknowledge(first.message_id, first.generation, 1.0)

        assert (made.held("a").messages, made.held("a").size) == (1, 10)
        made.advance(10.0)
        assert made.held("a").messages == made.held("b").messages == 0

    def test_messages_older_than_the_retention_are_dropped(self):
        made = backlog("", "", retention_seconds=600.0)
        lease(made, 599.0, limit=1)

        made.advance(601.0)
        assert made.drain().outdated == []  # the oldest is out: its receiver may still finish it

        made.advance(610.0)
        assert made.drain().outdated == [1, 2]
        assert len(made) == 0


class TestRetries:
    def test_the_backoff_doubles_between_its_bounds(self):
        retry = RetryPolicy(minimum=1.0, maximum=5.0)

        assert [retry.delay(n) for n in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]

    def test_a_minimum_of_nothing_still_grows(self):
        assert [RetryPolicy(0.0, 1.0).delay(n) for n in (1, 2, 3, 20)] == [0.1, 0.2, 0.4, 1.0]

    def test_a_maximum_below_the_shortest_backoff_holds(self):
        assert RetryPolicy(0.0, 0.0).delay(9) == 0.0

    def test_a_failed_message_rests_and_the_others_go_on(self):
        made = backlog("", "", retry=RetryPolicy(5.0, 60.0))
        (first,) = lease(made, limit=1)
        made.nack(1, first.generation, 0.0)

        assert ids(lease(made)) == [2]
        made.advance(4.9)
        assert lease(made, 4.9) == []
        assert made.next_change() == 5.0
        made.advance(5.0)
        assert ids(lease(made, 5.0)) == [1]

    def test_failures_are_reported_for_storage(self):
        made = backlog("")
        for _ in range(2):
            (item,) = lease(made)
            made.nack(1, item.generation, 0.0)

        assert made.drain().failures == {1: 2}
        assert made.drain().failures == {}


class TestDeadLetters:
    @pytest.mark.parametrize("key", ["", "k"])
    def test_the_last_failure_exhausts(self, key):
        made = backlog(key, max_attempts=5)
        for attempt in range(1, 6):
            (item,) = lease(made)
            assert item.attempt == attempt
            made.nack(1, item.generation, 0.0)

        (exhausted,) = made.drain().exhausted
        assert exhausted.message_id == 1
        assert lease(made) == []
        assert made.forwarded(1, 0.0) == [1]
        assert len(made) == 0

    @pytest.mark.parametrize("key", ["", "k"])
    def test_what_cannot_be_forwarded_is_tried_again(self, key):
        made = backlog(key, max_attempts=5, retry=RetryPolicy(1.0, 1.0))
        for now in range(5):
            made.advance(float(now))
            (item,) = lease(made, float(now))
            made.nack(1, item.generation, float(now))

        made.not_forwarded(1, 5.0)

        made.advance(6.0)
        (again,) = lease(made, 6.0)
        assert again.attempt == 6

    def test_a_key_waits_until_its_dead_letter_is_safe(self):
        made = backlog("k", "k", max_attempts=1)
        (item,) = lease(made, limit=1)
        made.nack(1, item.generation, 0.0)
        assert lease(made) == []

        made.forwarded(1, 0.0)

        assert ids(lease(made)) == [2]


class TestOrdering:
    def test_a_key_goes_out_as_one_batch_in_order(self):
        made = backlog("k", "k", "k")

        assert ids(lease(made, limit=2)) == [1, 2]
        assert lease(made) == []

    def test_the_next_batch_goes_when_all_of_the_last_is_acknowledged(self):
        made = backlog("k", "k", "k")
        first, second = lease(made, limit=2)

        assert made.acknowledge(1, first.generation, 0.0) == [1]
        assert lease(made) == []
        assert made.acknowledge(2, second.generation, 0.0) == [2]
        assert ids(lease(made)) == [3]

    def test_pushes_take_one_of_each_key(self):
        made = backlog("a", "a", "b", "b", "")

        assert ids(lease(made, per_key=1)) == [1, 3, 5]

    def test_a_failure_takes_back_what_went_out_after_it(self):
        made = backlog("k", "k", "k", "k")
        first, second, third = lease(made, limit=3)
        made.acknowledge(1, first.generation, 0.0)

        made.nack(2, second.generation, 0.0)

        assert made.acknowledge(3, third.generation, 0.0) == []
        again = lease(made)
        assert ids(again) == [2, 3, 4]
        assert [item.attempt for item in again] == [2, 1, 1]

    def test_an_early_acknowledgement_is_taken_back_by_the_failure_before_it(self):
        made = backlog("k", "k")
        first, second = lease(made)
        assert made.acknowledge(2, second.generation, 0.0) == []

        made.nack(1, first.generation, 0.0)

        assert ids(lease(made)) == [1, 2]

    def test_an_early_acknowledgement_counts_when_the_first_follows(self):
        made = backlog("k", "k")
        first, second = lease(made)
        made.acknowledge(2, second.generation, 0.0)

        assert made.acknowledge(1, first.generation, 0.0) == [1, 2]
        assert len(made) == 0

    def test_a_failure_in_the_middle_waits_for_what_is_out_before_it(self):
        made = backlog("k", "k", "k")
        first, second, _ = lease(made)
        made.nack(2, second.generation, 0.0)
        assert lease(made) == []

        made.acknowledge(1, first.generation, 0.0)

        assert ids(lease(made)) == [2, 3]

    def test_the_backoff_of_one_message_holds_its_key_and_no_other(self):
        made = backlog("a", "b", "a", retry=RetryPolicy(5.0, 5.0))
        (first,) = lease(made, limit=1)
        made.nack(1, first.generation, 0.0)

        assert ids(lease(made)) == [2]
        made.advance(5.0)
        assert ids(lease(made, 5.0)) == [1, 3]

    def test_keys_mean_nothing_without_ordering(self):
        made = Backlog(DeliveryRules(ordered=False))
        for message_id in (1, 2):
            made.add(message_id, key="k", size=1, published_at=0.0)

        assert ids(lease(made, limit=1)) == [1]
        assert ids(lease(made)) == [2]

    def test_a_dropped_message_makes_way_for_the_rest_of_its_key(self):
        made = Backlog(DeliveryRules(ordered=True, retention_seconds=600.0))
        made.add(1, key="k", size=1, published_at=0.0)
        made.add(2, key="k", size=1, published_at=100.0)

        made.advance(650.0)

        assert ids(lease(made, 650.0)) == [2]


def test_ends_of_leases_do_not_pile_up():
    made = Backlog(DeliveryRules())
    for message_id in range(1, 20_001):
        made.add(message_id, key="", size=1, published_at=0.0)
        (item,) = made.lease(0.0, seconds=600, limit=1)
        made.acknowledge(message_id, item.generation, 0.0)

    assert len(made._leases) < 2000


class Deliveries(RuleBasedStateMachine):
    """Any interleaving: nothing is lost, nothing is out twice, keys stay in order."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.ids = itertools.count(1)
        self.keys: dict[int, str] = {}
        self.out: dict[int, int] = {}
        self.finished: list[int] = []
        self.backlog = Backlog(
            DeliveryRules(ordered=True, retry=RetryPolicy(1.0, 8.0), max_attempts=4)
        )

    @rule(key=st.sampled_from(["", "a", "b"]), count=st.integers(1, 4))
    def publish(self, key, count):
        for _ in range(count):
            message_id = next(self.ids)
            self.keys[message_id] = key
            self.backlog.add(message_id, key=key, size=5, published_at=self.now)

    @rule(limit=st.integers(1, 6), per_key=st.sampled_from([None, 1]))
    def lease(self, limit, per_key):
        for item in self.backlog.lease(
            self.now, seconds=10, limit=limit, per_key=per_key, owner="someone"
        ):
            assert not self.backlog.is_current(item.message_id, self.out.get(item.message_id, -1))
            assert item.message_id not in self.finished
            self.out[item.message_id] = item.generation

    @rule(data=st.data(), accept=st.booleans())
    def settle(self, data, accept):
        if not self.out:
            return
        message_id = data.draw(st.sampled_from(sorted(self.out)))
        generation = self.out.pop(message_id)
        if accept:
            self.finished += self.backlog.acknowledge(message_id, generation, self.now)
        else:
            self.backlog.nack(message_id, generation, self.now)

    @rule(seconds=st.floats(0.1, 12.0))
    def pass_time(self, seconds):
        self.now += seconds
        self.backlog.advance(self.now)
        self._forward()

    def _forward(self):
        for entry in self.backlog.drain().exhausted:
            self.finished += self.backlog.forwarded(entry.message_id, self.now)

    @invariant()
    def nothing_finishes_twice(self):
        assert len(self.finished) == len(set(self.finished))

    @invariant()
    def finished_and_waiting_are_all_there_is(self):
        assert sorted(self.finished + self.backlog.message_ids()) == sorted(self.keys)

    @invariant()
    def what_is_out_of_a_key_comes_before_what_is_not(self):
        current = {
            m for m, generation in self.out.items() if self.backlog.is_current(m, generation)
        }
        for key in ("a", "b"):
            waiting = [m for m in self.backlog.message_ids() if self.keys[m] == key]
            out = [m for m in waiting if m in current]
            if out:
                before = waiting[: waiting.index(out[-1])]
                assert all(self.backlog._entries[m].state.name != "READY" for m in before)

    def teardown(self):
        for _ in range(10_000):
            if not len(self.backlog):
                break
            leases = self.backlog.lease(self.now, seconds=10, limit=3)
            for item in leases:
                self.finished += self.backlog.acknowledge(
                    item.message_id, item.generation, self.now
                )
            if not leases:
                self.now = max(self.now, self.backlog.next_change() or self.now)
                self.backlog.advance(self.now)
                self._forward()
        assert sorted(self.finished) == sorted(self.keys)
        assert self.backlog.held("someone").messages == 0


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
