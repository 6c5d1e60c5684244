#!/usr/bin/env python3
"""Asks a Prometheus whatever the Grafana dashboard asks, as Grafana does, and docs/metrics.md; prints a table of the answers.

    dashboard_answers.py http://127.0.0.1:9090 --since 60

Exit status 1: a query that the Prometheus refuses or that returns nothing, or one whose answer is zero all the time without
standing in ZERO_IS_WELL. A number that is none (a quantile of nothing) is nothing.
"""

import argparse
import json
import math
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import dashboard_queries

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "zeropool.json")
PAGE = os.path.join(ROOT, "docs", "metrics.md")

# What a machine of one node, with memory enough, and clients that damage nothing, cannot bring about. These return their zeros.
ZERO_IS_WELL = {
    ("Above the budget", "A"): "the budget is never lowered below what is committed",
    ("On another node than asked for", "A"): "there is one node",
    ("Gets from another node", "A"): "there is one node",
    ("Shortage of the system", "A"): "the system has memory enough",
    ("Contention", "A"): "races are lost by chance",
    ("Misuse and damage", "D"): "nobody damages shared memory",
}


class Prometheus:
    def __init__(self, url):
        self.url = url.rstrip("/")

    def ask(self, path, **fields):
        """The `data` of an answer. ValueError: Prometheus refuses the question."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(fields)}", timeout=60) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            document = json.load(error)
        if document.get("status") != "success":
            raise ValueError(document.get("error", "no answer"))
        return document["data"]

    def label_values(self, label, selector):
        return self.ask(f"label/{label}/values", **{"match[]": selector})

    def numbers(self, query, begin, end, step):
        """Of each series that has some, the numbers: of all steps, or of the end alone."""
        if query.instant:
            series = self.ask("query", query=query.expression, time=end)["result"]
            values = [[one["value"]] for one in series]
        else:
            series = self.ask("query_range", query=query.expression, start=begin, end=end, step=step)["result"]
            values = [one["values"] for one in series]
        found = [[float(number) for _, number in one] for one in values]
        found = [[number for number in one if math.isfinite(number)] for one in found]
        return [one for one in found if one]


def chosen(values):
    """Several values of a variable, as Grafana writes them into a regular expression of PromQL."""
    def quoted(value):
        return re.sub(r"[\\^$.|?*+()\[\]{}/]", lambda found: "\\\\" + found.group(0), value)
    return "(" + "|".join(quoted(value) for value in values) + ")"


def variables(prometheus, dashboard, times):
    """The values of each, asked for in their order: a later one asks with the earlier ones filled in."""
    found, rows = {}, []
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = dashboard_queries.variable_query(variable, {**times, **{name: ".*" for name in found}})
        values = prometheus.label_values(asked.ref, asked.expression)
        found[variable["name"]] = values
        rows.append((asked.panel, asked.ref, len(values), "", ", ".join(values), "well" if values else "NOTHING"))
    return found, rows


def answer(prometheus, query, span):
    try:
        numbers = prometheus.numbers(query, *span)
    except ValueError as error:
        return (query.panel, query.ref, 0, "", "", f"REFUSED: {error}")
    most = max((max(one) for one in numbers), default=math.nan)
    last = max((one[-1] for one in numbers), default=math.nan)
    verdict = "well"
    if not numbers:
        verdict = "NOTHING"
    elif most == 0:
        why = ZERO_IS_WELL.get((query.panel, query.ref))
        verdict = f"well: {why}" if why else "ZERO"
    return (query.panel, query.ref, len(numbers), f"{most:.4g}", f"{last:.4g}", verdict)


def table(rows):
    lines = [("panel", "query", "series", "most", "now", "verdict")] + [tuple(str(cell) for cell in row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join("  ".join([cell.ljust(width) for cell, width in zip(line, widths)] + [line[5]]) for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--since", type=float, required=True, help="seconds from now: what the dashboard shows")
    parser.add_argument("--scrape", type=int, default=1, help="the scrape interval, in seconds")
    arguments = parser.parse_args()
    end = time.time()
    step = arguments.scrape
    span = (end - arguments.since, end, step)
    # Grafana's rule: four scrapes, or a step and a scrape, whichever is more.
    rate = max(4 * arguments.scrape, step + arguments.scrape)
    times = {"__interval": f"{step}s", "__rate_interval": f"{rate}s", "__range": f"{math.ceil(arguments.since)}s",
             "datasource": "prometheus"}

    prometheus = Prometheus(arguments.url)
    dashboard = dashboard_queries.load(DASHBOARD)
    values, rows = variables(prometheus, dashboard, times)
    everything = {name: ".*" for name in values}
    each = {name: chosen(found) for name, found in values.items()}
    asked = dashboard_queries.panel_queries(dashboard, {**times, **everything})
    by_name = dashboard_queries.panel_queries(dashboard, {**times, **each})
    for query, named in zip(asked, by_name):
        row = answer(prometheus, query, span)
        # "All" and all of them chosen one by one are the same.
        if row[2] != answer(prometheus, named, span)[2]:
            row = row[:5] + ("NOT THE SAME BY NAME",)
        rows.append(row)
    with open(PAGE, encoding="utf-8") as page:
        documented = dashboard_queries.documented_queries(page.read())
    if len(documented) < 5:
        raise SystemExit("docs/metrics.md has no table of queries any more")
    rows += [answer(prometheus, query, span) for query in documented]
    print(table(rows))
    bad = [row for row in rows if not row[5].startswith("well")]
    print(f"{len(rows)} queries, {len(bad)} of them not well")
    unknown = set(ZERO_IS_WELL) - {(query.panel, query.ref) for query in asked}
    if unknown:
        print(f"ZERO_IS_WELL names what is not in the dashboard: {sorted(unknown)}")
    return 1 if bad or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
