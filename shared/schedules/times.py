"""When a schedule's runs start: its occurrences, and the jitter that keeps it apart from others."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from shared.schedules import cron
from shared.schedules.definitions import Occurrence, Schedule, ScheduleFields


def next_run_time(schedule: ScheduleFields, config_id: str, after: datetime) -> datetime | None:
    """When it runs next, later than `after`; None while it is paused.

    An occurrence and the schedule's jitter: the occurrence is this less `jitter`.
    """
    if not schedule.is_active:
        return None
    wait = jitter(schedule, config_id)
    return cron.next_after(schedule.schedule_cron, schedule.timezone, after - wait) + wait


def upcoming(schedule: Schedule, now: datetime, count: int) -> list[Occurrence]:
    """The next occurrences whose runs start after `now`, of a paused schedule too."""
    wait = jitter(schedule, schedule.config_id)
    zone = ZoneInfo(schedule.timezone)
    return [
        Occurrence(
            scheduled_time=moment,
            local_time=moment.astimezone(zone).isoformat(),
            run_time=moment + wait,
        )
        for moment in cron.occurrences(schedule.schedule_cron, schedule.timezone, now - wait, count)
    ]


def jitter(schedule: ScheduleFields, config_id: str) -> timedelta:
    """How much after its occurrences the schedule runs."""
    return timedelta(seconds=cron.jitter_seconds(config_id, schedule.max_jitter_seconds))
