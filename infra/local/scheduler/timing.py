"""When a job runs and how long it waits before it tries again, as Cloud Scheduler decides it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from infra.topology import Retry


@dataclass(frozen=True)
class Schedule:
    """A unix-cron expression on the wall clock of a time zone.

    Where the clocks change, a job may be skipped or run twice, as Cloud Scheduler's may ("Cron job
    format and time zone").
    """

    expression: str
    time_zone: str

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence after `moment`, with the offset of the time zone."""
        return self._iterator(moment).get_next(datetime)

    def latest_until(self, moment: datetime) -> datetime:
        """The last occurrence up to and including `moment`."""
        following = self.next_after(moment)
        return self._iterator(following).get_prev(datetime)

    def _iterator(self, moment: datetime) -> croniter:
        return croniter(self.expression, moment.astimezone(ZoneInfo(self.time_zone)))


def pause_after(failures: int, retry: Retry) -> float | None:
    """Seconds until the next try after the n-th failure (n from 1); None to give up.

    Doubles `maximum_doublings` times, then grows by the last step, up to the maximum
    (google/cloud/scheduler/v1/job.proto, `RetryConfig.max_doublings`).
    """
    if failures > retry.count:
        return None
    if failures <= retry.maximum_doublings + 1:
        pause = retry.minimum_backoff_seconds * 2.0 ** (failures - 1)
    else:
        step = retry.minimum_backoff_seconds * 2.0**retry.maximum_doublings
        pause = step * (failures - retry.maximum_doublings)
    return min(pause, retry.maximum_backoff_seconds)


def utc_now() -> datetime:
    """The moment, aware."""
    return datetime.now(UTC)
