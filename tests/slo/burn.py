"""In which minute do the SRE workbook's burn-rate alerts fire? Reckoned from the formulae as published, by somebody who has
not seen Watchkeep's code.

    burn.py QUESTION.json > ANSWER.json

The question has an objective, whether a range leaves its first moment out (Prometheus 3) or not (Prometheus 2), and the
events of each minute as segments: so many minutes with so many events, of which so many are bad. Counters are scraped, and
rules evaluated, once a minute: rules a part of a minute (`offset`) behind the scrape. `rate` is as Prometheus documents it: the increase between the first and the last sample in
the range, extrapolated to its ends, to zero at most.

Alert, from the workbook (chapter 5, table 5-8): a page when the error ratios of 1 h and 5 m exceed 14.4 times the budget, or
those of 6 h and 30 m 6 times; a ticket for 1 d and 2 h and 3 times, or 3 d and 6 h and once.
"""

import json
import sys

PAGE = ((60, 5, 14.4), (360, 30, 6.0))
TICKET = ((1440, 120, 3.0), (4320, 360, 1.0))


def rate(counter, now, minutes, left_open, offset):
    first = max(0, now - minutes + (1 if left_open or offset else 0))
    if now - first < 1:
        return None
    increase = counter[now] - counter[first]
    sampled = now - first
    # In minutes, samples one apart; the last is `offset` before the range's end.
    to_start = first - (now + offset - minutes)
    if increase > 0:
        to_start = min(to_start, sampled * counter[first] / increase)
    reach = sampled + (to_start if to_start < 1.1 else 0.5) + offset
    return increase * reach / sampled / minutes


def main():
    with open(sys.argv[1]) as file:
        question = json.load(file)
    total, bad = [0], [0]
    for segment in question["segments"]:
        for _ in range(segment["minutes"]):
            total.append(total[-1] + segment["events"])
            bad.append(bad[-1] + segment["bad"])
    budget = 1 - question["objective"]

    def ratio(now, minutes):
        left_open, offset = question["left_open"], question.get("offset", 0)
        whole = rate(total, now, minutes, left_open, offset)
        part = rate(bad, now, minutes, left_open, offset)
        return part / whole if whole else None

    def fires(now, pairs):
        for long, short, factor in pairs:
            both = ratio(now, long), ratio(now, short)
            if None not in both and min(both) > factor * budget:
                return True
        return False

    answer = {}
    for name, pairs in (("page", PAGE), ("ticket", TICKET)):
        firing = [now for now in range(len(total)) if fires(now, pairs)]
        ended = next((now for now in range(firing[0], len(total)) if not fires(now, pairs)), None) if firing else None
        answer[name] = {"fires": firing[0] if firing else None, "ends": ended}
    json.dump(answer, sys.stdout)


main()
