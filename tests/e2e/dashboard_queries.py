"""What the Grafana dashboard asks Prometheus, with its variables filled in.

    for query in queries(load("deploy/grafana/zeropool.json")):
        ask(query.expression)     # query.panel and query.ref say which it is
"""

import json
import re
from collections import namedtuple

# instant: asked of one moment; else of a time range, as a line is drawn.
Query = namedtuple("Query", "panel ref expression instant")

# Whatever the variables may be: all of it, and a minute.
VALUES = {"job": ".*", "instance": ".*", "pool": ".*", "datasource": "prometheus", "__rate_interval": "1m",
          "__interval": "15s", "__range": "1h"}


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def filled(text, values):
    """`text` with $name, ${name} and ${name:format} replaced. KeyError: there is no such variable."""
    def value(found):
        name = found.group(1) or found.group(2)
        if name not in values:
            raise KeyError(f"{text}: there is no variable {name}")
        return values[name]
    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", value, text)


def panels(dashboard):
    """Every panel, those of collapsed rows too; rows are none."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def panel_queries(dashboard, values):
    return [Query(panel["title"], target["refId"], filled(target["expr"], values), target["instant"])
            for panel in panels(dashboard) for target in panel["targets"]]


def variable_query(variable, values):
    """The selector, and as `ref` the label whose values are wanted."""
    asked = re.fullmatch(r"label_values\((.*), *(\w+)\)", variable["query"]["query"])
    if not asked:
        raise ValueError(f"variable {variable['name']}: not label_values(): {variable['query']['query']}")
    return Query("variable " + variable["name"], asked.group(2), filled(asked.group(1), values), True)


def queries(dashboard, values=None):
    """Those of panels, and the selectors of the variables."""
    values = {**VALUES, **(values or {})}
    return panel_queries(dashboard, values) + [
        variable_query(variable, values) for variable in dashboard["templating"]["list"] if variable["type"] == "query"]


def documented_queries(page):
    """Those of the table "Questions and their queries" of docs/metrics.md."""
    part = page.split("## Questions and their queries\n", 1)[1].split("\n## ", 1)[0]
    found = []
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and "`" in cells[1]:
            spans = [span for span in re.findall(r"`([^`]+)`", cells[1]) if re.search(r"\bzeropool_\w", span)]
            found += [Query("docs: " + cells[0], chr(ord("A") + i), span, True) for i, span in enumerate(spans)]
    return found


def metrics(expression):
    """The names of metrics in it."""
    without_texts = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    return set(re.findall(r"\b(?:zeropool|process)_\w+", without_texts))
