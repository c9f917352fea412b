"""EventBridge Scheduler as MiniStack 1.5.33 does not have it: time zones, the words in brackets of a target's input
(`<aws.scheduler.scheduled-time>`), and what was fired last, across a restart.

A schedule fires when its latest time is within the last minute and is not the one that it fired for last: what came due while
the emulator was not there is left out. It is looked at every second, so that a firing is not up to ten seconds late.
"""

import logging
import time
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

EVERY = 1
LATEST = 60
# The words of EventBridge Scheduler's user guide, "Adding context attributes".
WORDS = "<aws.scheduler.{}>"
FIRED = "FrescoFired"

log = logging.getLogger("fresco")


def latest(schedule, now, eventbridge):
    """The latest time until now at which the schedule is due, in seconds since the Unix epoch."""
    expression = schedule.get("ScheduleExpression", "").strip()
    zone = ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")
    if expression.startswith("at("):
        at = datetime.fromisoformat(expression[3:-1]).replace(tzinfo=zone).timestamp()
        return at if at <= now else None
    every = eventbridge._parse_rate_seconds(expression)
    if every:
        # From its start date, or at once where it has none (Scheduler guide, "Rate-based schedules").
        begins = schedule.get("StartDate") or schedule["LastModificationDate"]
        return begins + (now - begins) // every * every if begins <= now else None
    fields = eventbridge._parse_cron_fields(expression)
    if fields is None:
        return None
    # Matched on the clock's face, as if in UTC.
    face = datetime.fromtimestamp(now, zone).replace(tzinfo=timezone.utc)
    due = eventbridge._cron_next_fire(fields, face - timedelta(seconds=LATEST))
    if due is None or due > face:
        return None
    return due.replace(tzinfo=zone).timestamp()


def filled(target, schedule, at):
    """The target with its input's words filled."""
    values = {
        "schedule-arn": schedule.get("Arn", ""),
        "scheduled-time": datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "attempt-number": "1",
    }
    text = target.get("Input") or ""
    for name, value in values.items():
        text = text.replace(WORDS.format(name), value)
    return {**target, "Input": text} if text else target


def replace(scheduler, eventbridge):
    """Puts this in the place of MiniStack's own."""

    def fire(key, schedule, at):
        account, region, _ = key
        schedule[FIRED] = at
        scheduler.set_request_account_id(account)
        scheduler.set_request_region(region)
        event = {"EventId": scheduler.new_uuid(), "Source": "aws.scheduler", "DetailType": "Scheduled Event", "Detail": "{}",
                 "Time": at, "Resources": [schedule.get("Arn", "")], "Account": account, "Region": region}
        eventbridge._invoke_target(filled(schedule.get("Target") or {}, schedule, at), event, schedule)
        once = schedule["ScheduleExpression"].startswith("at(")
        if once and schedule.get("ActionAfterCompletion") == "DELETE":
            scheduler._schedules._data.pop(key, None)

    def tick():
        now = time.time()
        for key, schedule in list(scheduler._schedules._data.items()):
            if schedule.get("State") != "ENABLED":
                continue
            try:
                at = latest(schedule, now, eventbridge)
                # What was due before the schedule was changed belongs to what it was then.
                since = max(now - LATEST, schedule.get("LastModificationDate", 0) - 1)
                if at is not None and at > max(since, schedule.get(FIRED, 0)):
                    fire(key, schedule, at)
            except Exception:
                log.exception("the schedule %s was not fired", schedule.get("Name"))

    scheduler._SCHEDULE_TICK_INTERVAL = EVERY
    scheduler._tick_schedules = tick
