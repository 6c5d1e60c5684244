#!/usr/bin/env python3
"""The Grafana dashboard: whole, readable, and about what zeropoold really exports."""

import os
import re
import subprocess
import unittest

import dashboard_queries
from zeropool_process import Daemon

ROOT = os.environ.get("ZEROPOOL_SOURCE_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FOLDER = os.path.join(ROOT, "deploy", "grafana")
PATH = os.path.join(FOLDER, "zeropool.json")
CONFIG = "budget: 64MiB\npages: {size: [4KiB]}\npools:\n  frames: {classes: [4KiB]}\n"


class Queries(unittest.TestCase):
    """dashboard_queries.py itself."""

    def one(self, expression, variables=()):
        return {"panels": [{"type": "row", "panels": []},
                           {"type": "stat", "title": "P",
                            "targets": [{"refId": "A", "expr": expression, "instant": False}]}],
                "templating": {"list": list(variables)}}

    def test_variables_are_filled_in(self):
        found = dashboard_queries.queries(
            self.one('rate(a{job=~"$job",pool=~"${pool:regex}"}[$__rate_interval])'), {"pool": "frames"})
        self.assertEqual(found, [("P", "A", 'rate(a{job=~".*",pool=~"frames"}[1m])', False)])

    def test_a_variable_that_is_not_there_is_an_error(self):
        with self.assertRaises(KeyError):
            dashboard_queries.queries(self.one("a{x=$nobody}"))

    def test_panels_of_collapsed_rows_count(self):
        inner = self.one("b")["panels"][1]
        dashboard = {"panels": [{"type": "row", "panels": [inner]}], "templating": {"list": []}}
        self.assertEqual([query.expression for query in dashboard_queries.queries(dashboard)], ["b"])

    def test_selectors_of_variables_count(self):
        variable = {"type": "query", "name": "instance", "query": {"query": 'label_values(up{job=~"$job"}, instance)'}}
        self.assertIn(("variable instance", "instance", 'up{job=~".*"}', True),
                      dashboard_queries.queries(self.one("a", [variable])))
        variable["query"]["query"] = "something(else)"
        with self.assertRaises(ValueError):
            dashboard_queries.queries(self.one("a", [variable]))

    def test_names_of_metrics_are_found_and_labels_and_texts_are_not(self):
        self.assertEqual(dashboard_queries.metrics(
            'sum by (pool) (rate(zeropool_gets_total{x="zeropool_no"}[1m])) / process_cpu_seconds_total'),
            {"zeropool_gets_total", "process_cpu_seconds_total"})


class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dashboard = dashboard_queries.load(PATH)
        cls.panels = list(dashboard_queries.panels(cls.dashboard))

    def test_it_is_what_its_script_writes(self):
        made = subprocess.run([os.path.join(FOLDER, "make-dashboard")], capture_output=True, text=True, check=True)
        with open(PATH, encoding="utf-8") as file:
            self.assertEqual(made.stdout, file.read(), "run deploy/grafana/make-dashboard > zeropool.json")

    def test_every_metric_is_one_that_the_daemon_exports(self):
        with Daemon(CONFIG, metrics="top_clients: 3") as daemon:
            daemon.client("frames", "holder", hold=1)
            exported = {name for name, _, _ in daemon.metrics()}
        named = set()
        for query in dashboard_queries.queries(self.dashboard):
            metrics = dashboard_queries.metrics(query.expression)
            self.assertTrue(metrics, query)
            self.assertLessEqual(metrics, exported, query)
            named |= metrics
        self.assertGreater(len(named), 35)

    def test_counters_are_read_as_rates(self):
        for query in dashboard_queries.queries(self.dashboard):
            for name in dashboard_queries.metrics(query.expression):
                if name.endswith(("_total", "_bucket")) and name != "zeropool_page_fallbacks_total":
                    self.assertRegex(query.expression, r"rate\(" + name + r"\{[^}]*\}\[1m\]\)", query)

    def test_every_panel_has_a_unit_and_says_what_it_shows(self):
        self.assertGreater(len(self.panels), 30)
        for panel in self.panels:
            with self.subTest(panel["title"]):
                self.assertTrue(panel["title"] and panel["fieldConfig"]["defaults"]["unit"])
                self.assertRegex(panel["description"], r"^[A-Za-z].*\.$")
                self.assertTrue(panel["targets"])
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                for target in panel["targets"]:
                    self.assertEqual(target["datasource"]["uid"], "${datasource}")
                    self.assertIn('instance=~"$instance"', target["expr"])

    def test_ids_are_unique_and_panels_do_not_overlap(self):
        placed = {}
        ids = [panel["id"] for panel in self.dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in self.dashboard["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), placed, f"{panel['title']} over {placed.get((x, y))}")
                    placed[x, y] = panel["title"]

    def test_it_asks_for_data_source_job_daemon_and_pool(self):
        names = [variable["name"] for variable in self.dashboard["templating"]["list"]]
        self.assertEqual(names, ["datasource", "job", "instance", "pool"])
        rows = [panel["title"] for panel in self.dashboard["panels"] if panel["type"] == "row"]
        self.assertEqual(rows, ["Overview", "Pools", "Nodes", "Classes", "Clients"])

    def test_brackets_of_every_query_match(self):
        for query in dashboard_queries.queries(self.dashboard):
            plain = re.sub(r'"[^"]*"', "", query.expression)
            for opening, closing in ("()", "{}", "[]"):
                self.assertEqual(plain.count(opening), plain.count(closing), query)


if __name__ == "__main__":
    if "ZEROPOOLD" not in os.environ:
        raise SystemExit("ZEROPOOLD is not set: run this by ctest")
    unittest.main(verbosity=2)
