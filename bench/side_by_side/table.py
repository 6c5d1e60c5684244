"""The table for people."""

WORDS = {True: "met", False: "MISSED", None: ""}


def number(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 1000 else f"{value:.0f}"


def span(pair):
    return f"{number(pair[0])}-{number(pair[1])}" if pair else ""


def lines(entries):
    last = None
    yield (f"{'':7} {'ours':>9} {'range':>15}  {'peer':>9} {'range':>15} {'ratio':>7}  {'goal':<12} {'':6}  peer")
    for one in entries:
        work = (one["id"], one["work"], one["unit"])
        if work != last:
            yield f"{one['id']:<7} {one['work']}, {one['unit']}"
            last = work
        verdict = WORDS[one["met"]] if one["met"] is not None or not one["goal"] else "open"
        note = f"  ({one['note']})" if one["note"] else ""
        yield (f"{'':7} {number(one['ours']):>9} {span(one['ours_range']):>15}  {number(one['peer']):>9} "
               f"{span(one['peer_range']):>15} {number(one['ratio']):>7}  {one['goal'] or '':<12} {verdict:<6}  "
               f"{one['peer_name']}{note}")


def summary(entries):
    """For each P that has a goal: how many of its goals are met, missed, open."""
    counts = {}
    for one in entries:
        if one["goal"]:
            counts.setdefault(one["id"], {True: 0, False: 0, None: 0})[one["met"]] += 1
    for id, count in sorted(counts.items(), key=lambda item: (len(item[0]), item[0])):
        yield f"{id:<7} {count[True]} met, {count[False]} missed, {count[None]} without a verdict"
