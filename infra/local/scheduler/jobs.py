"""A job over time: its executions one after the other, retries, pauses, forced runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from infra.local.scheduler.attempts import Attempt, Target
from infra.local.scheduler.timing import Schedule, pause_after, utc_now
from infra.topology import Retry

# A laptop that slept or whose clock was set must not oversleep an occurrence.
_LONGEST_SLEEP_SECONDS = 15.0

_log = logging.getLogger(__name__)

Send = Callable[["Job", datetime], Awaitable[Attempt]]


class Job:
    """One job. All of it happens on one event loop.

    Execution n + 1 does not begin before execution n has ended, retries included: it is delayed,
    and of several that became due meanwhile only the last one is run. Retries end at the next
    occurrence (google/cloud/scheduler/v1/job.proto, `Job.schedule` and `RetryConfig`).
    """

    def __init__(
        self,
        name: str,
        *,
        description: str,
        schedule: Schedule,
        retry: Retry,
        target: Target,
        paused: bool,
        send: Send,
    ) -> None:
        self.name = name
        self.target = target
        self._description = description
        self._schedule = schedule
        self._retry = retry
        self._send = send
        self._paused = paused
        self._changed = asyncio.Event()
        self._planned: datetime | None = None
        self._last: Attempt | None = None
        self._attempts = 0

    async def keep_running(self) -> None:
        """Run every occurrence from now on; for ever."""
        done_until = utc_now()
        while True:
            self._planned = None if self._paused else self._schedule.next_after(done_until)
            if not await self._reached(self._planned):
                done_until = utc_now()
                continue
            occurrence = self._schedule.latest_until(utc_now())
            await self._execute(occurrence)
            done_until = occurrence

    async def run(self) -> Attempt:
        """Google's "force run": an attempt now, whatever else runs and even while paused.

        It is not retried: whoever forces a run sees how it ended.
        """
        return await self._attempt(utc_now().replace(microsecond=0))

    def pause(self) -> None:
        """No occurrence runs until `resume`; what runs goes on. A second call does nothing."""
        self._set_paused(paused=True)

    def resume(self) -> None:
        """Go on with the next occurrence; those missed meanwhile stay missed."""
        self._set_paused(paused=False)

    def to_json(self) -> dict[str, Any]:
        """The job with the names of Google's `Job`, and its last attempt."""
        shown: dict[str, Any] = {
            "name": self.name,
            "description": self._description,
            "schedule": self._schedule.expression,
            "timeZone": self._schedule.time_zone,
            "state": "PAUSED" if self._paused else "ENABLED",
            "httpTarget": {"uri": self.target.uri, "httpMethod": self.target.method},
            "attemptDeadline": f"{self.target.deadline_seconds:g}s",
            "attempts": self._attempts,
        }
        if self._planned is not None:
            shown["scheduleTime"] = self._planned.isoformat()
        if self._last is not None:
            shown["lastAttemptTime"] = self._last.started.isoformat()
            shown["status"] = {"code": self._last.code, "message": self._last.message}
            shown["lastAttempt"] = self._last.to_json()
        return shown

    def _set_paused(self, *, paused: bool) -> None:
        if self._paused != paused:
            self._paused = paused
            self._changed.set()

    async def _reached(self, moment: datetime | None) -> bool:
        """Wait for a moment; false when the job was paused or resumed before it came."""
        while moment is None or (left := (moment - utc_now()).total_seconds()) > 0:
            timeout = None if moment is None else min(left, _LONGEST_SLEEP_SECONDS)
            try:
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
            except TimeoutError:
                continue
            self._changed.clear()
            return False
        return True

    async def _execute(self, occurrence: datetime) -> None:
        """One execution: an attempt, and its retries until the next occurrence."""
        following = self._schedule.next_after(utc_now())
        failures = 0
        while not (await self._attempt(occurrence)).succeeded:
            failures += 1
            pause = pause_after(failures, self._retry)
            if pause is None or utc_now() + timedelta(seconds=pause) >= following:
                return
            self._planned = utc_now() + timedelta(seconds=pause)
            await asyncio.sleep(pause)

    async def _attempt(self, occurrence: datetime) -> Attempt:
        self._attempts += 1
        ended = await self._send(self, occurrence)
        self._last = ended
        if not ended.succeeded:
            _log.warning("job %s: %s: %s", self.name, ended.message, ended.body[:300])
        return ended
