"""An SLO's figures reckoned anew, straight from raw samples, by somebody who has not seen Watchkeep's code.

    reference.py QUESTION.json SAMPLES.csv > ANSWER.json

SAMPLES.csv has a line per probe: milliseconds since 1970, 1 or 0, seconds. QUESTION.json says what was promised, when
there was maintenance, and which ranges are asked for. Only the standard library is used; days and months are zoneinfo's.

The rules, as docs/slo.md has them:
- a probe counts unless it was made during maintenance; it is in time when it succeeds within the latency objective;
- the service is down from the first failed probe to the first good one, maintenance left out; it stays down while no
  samples come (for at most a day);
- a window of a schedule that falls into the hour which the clock skips begins when the clock goes on.
"""

import json
import math
import sys
from bisect import bisect_left
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

HOUR = 3_600_000
DAY = 24 * HOUR


def millis(moment):
    return round(moment.timestamp() * 1000)


def wall(zone, day, hour, minute):
    """When the wall clock shows this for the first time, or goes past it."""
    naive = datetime(day.year, day.month, day.day, hour, minute)
    for late in range(0, 24 * 60):
        there = (naive + timedelta(minutes=late)).replace(tzinfo=zone, fold=0)
        back = there.astimezone(timezone.utc).astimezone(zone)
        if back.replace(tzinfo=None) == there.replace(tzinfo=None):
            return millis(there)
    raise ValueError(f"{zone} has no {naive}")


def maintenance(windows, first, last):
    """Spans of all windows, joined."""
    spans = []
    for window in windows:
        if "weekday" not in window:
            spans.append((window["from"], window["to"]))
            continue
        zone = ZoneInfo(window["zone"])
        day = date.fromordinal(date(1970, 1, 1).toordinal() + first // DAY - 2)
        while millis(datetime(day.year, day.month, day.day, tzinfo=timezone.utc)) < last + DAY:
            if day.weekday() == window["weekday"]:
                begin = wall(zone, day, window["hour"], window["minute"])
                spans.append((begin, begin + window["seconds"] * 1000))
            day += timedelta(days=1)
    joined = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def without(span, holes):
    """A span without what the holes take of it."""
    begin, end = span
    rest = []
    for hole_begin, hole_end in holes:
        if hole_end <= begin or hole_begin >= end:
            continue
        if hole_begin > begin:
            rest.append((begin, hole_begin))
        begin = max(begin, hole_end)
    if begin < end:
        rest.append((begin, end))
    return rest


def downtimes(samples, excused, now):
    found, since = [], None
    last = None
    for at, good, _ in samples:
        if since is not None and at - last > DAY:
            found.append((since, last + DAY))
            since = None
        if not good and since is None:
            since = at
        if good and since is not None:
            found.append((since, at))
            since = None
        last = at
    if since is not None:
        found.append((since, now))
    return [part for span in found for part in without(span, excused)]


def clip(spans, begin, end):
    cut = ((max(a, begin), min(b, end)) for a, b in spans)
    return [(a, b) for a, b in cut if a < b]


def total(spans):
    return sum(b - a for a, b in spans) / 1000


def quantile(times, share):
    return times[max(math.ceil(share * len(times)), 1) - 1] if times else None


def main():
    with open(sys.argv[1]) as file:
        question = json.load(file)
    with open(sys.argv[2]) as file:
        rows = (line.split(",") for line in file)
        samples = [(int(at), good == "1", float(took)) for at, good, took in rows]
    now, limit, objective = question["now"], question["latency_seconds"], question["objective"]
    times = [at for at, _, _ in samples]
    excused = maintenance(question["maintenance"], times[0], now)
    begins = [begin for begin, _ in excused]
    down = downtimes(samples, excused, now)

    def is_excused(at):
        place = bisect_left(begins, at + 1) - 1
        return place >= 0 and at < excused[place][1]

    kept = [(at, good, took, is_excused(at)) for at, good, took in samples]

    def figures(begin, end):
        inside = kept[bisect_left(times, begin) : bisect_left(times, end)]
        counted = [(good, took) for _, good, took, left_out in inside if not left_out]
        good = sum(good for good, _ in counted)
        fast = sum(good and took <= limit for good, took in counted)
        away = total(clip(excused, begin, end))
        lost = clip(down, begin, end)
        bad = len(counted) - good
        allowed = (1 - objective) * ((end - begin) / 1000 - away)
        # The same share of the seconds is spent as of the probes.
        spent = bad / ((1 - objective) * len(counted)) * allowed
        return {
            "total": len(counted),
            "good": good,
            "fast": fast,
            "excluded": len(inside) - len(counted),
            "downtimes": len(lost),
            "downtime_seconds": total(lost),
            "maintenance_seconds": away,
            "budget_total_seconds": allowed,
            "budget_left_seconds": allowed - spent,
        }

    def months(zone):
        day = datetime.fromtimestamp(times[0] / 1000, zone).date().replace(day=1)
        while wall(zone, day, 0, 0) < now:
            after = (day + timedelta(days=32)).replace(day=1)
            begin, end = wall(zone, day, 0, 0), min(wall(zone, after, 0, 0), now)
            yield {"name": f"{day:%Y-%m}", **figures(begin, end)}
            day = after

    def answer(asked):
        zone = ZoneInfo(asked["zone"])
        begin, end = asked["from"], asked["to"]
        # Longer ranges know the times of whole UTC days.
        wide = (begin // DAY * DAY, -(-end // DAY) * DAY) if asked["whole_days"] else (begin, end)
        inside = kept[bisect_left(times, wide[0]) : bisect_left(times, wide[1])]
        took = sorted(took for _, good, took, left_out in inside if good and not left_out)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
        return {
            **figures(begin, end),
            "months": list(months(zone)),
            "timed": len(took),
            **{name: quantile(took, share) for name, share in shares.items()},
        }

    json.dump([answer(asked) for asked in question["ranges"]], sys.stdout)


main()
