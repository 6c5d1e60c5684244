#!/usr/bin/env python3
"""The status page in a real Chromium, from a real daemon with real clients."""

import os
import unittest
import urllib.request

from web_driver import ENTER, TAB, Browser
from zeropool_process import Daemon, eventually

CONFIG = """budget: 64MiB
pages: {size: [4KiB]}
pools:
  frames: {reserved: 8MiB, classes: [4KiB, 64KiB], wait: {timeout: 120s}}
  audio: {limit: 16MiB, classes: [4KiB], wait: {timeout: 120s}}
"""
HOSTILE = "<script>hurt=1</script>"  # names are cut at 31 bytes
HOSTILE_TOO = '"><img src=x onerror=hurt=1>'

CONTRASTS = """
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const back = (node) => {
  for (; node; node = node.parentElement) {
    const colour = parse(getComputedStyle(node).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const bad = [];
let seen = 0;
for (const node of document.querySelectorAll('body *')) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!own || !node.getClientRects().length || node.closest('script')) continue;
  seen += 1;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(back(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) bad.push(node.tagName + ' ' + node.textContent.slice(0, 40) + ' ' + contrast);
}
return [seen, bad];
"""


def wait_for_polls(browser, many):
    eventually(lambda: browser.run(
        "return Number(document.documentElement.dataset.polls || 0)") >= many, what="the page polls")


class StatusPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self):
        self.daemon = self.enterContext(Daemon(CONFIG))
        self.browser.open("about:blank")  # the page of the test before may still ask its daemon
        self.browser.script(True)
        self.browser.look()
        self.browser.console()

    def open(self):
        self.browser.open(self.daemon.url)
        wait_for_polls(self.browser, 1)

    def assert_no_complaint(self):
        self.assertEqual(self.browser.console(), [])

    def value(self, selector):
        return float(self.browser.run("return document.querySelector(arguments[0]).dataset.value", selector))

    def table(self, name):
        """[{title of the column: value or text}]"""
        return self.browser.run("""
            const table = document.getElementById(arguments[0]);
            const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
            return [...table.tBodies[0].rows].map((row) => Object.fromEntries([...row.cells].map((cell, i) =>
              [titles[i], cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value)])));
            """, name)

    def at_rest(self):
        """Clients that hold, and do nothing else: whoever asks, the figures are the same."""
        self.daemon.client("frames", "holder", size=65536, hold=20)
        self.daemon.client("frames", HOSTILE, size=4096, hold=300)
        self.daemon.client("audio", HOSTILE_TOO, size=4096, hold=10)

    def check_figures(self):
        metric = self.daemon.metric
        self.assertEqual(self.value("#committed"), metric("zeropool_budget_committed_bytes"))
        self.assertEqual(self.value("#committed-beside"), metric("zeropool_budget_bytes"))
        self.assertEqual(self.value("#gets"), metric("zeropool_gets_total"))
        self.assertEqual(self.value("#waiting"), metric("zeropool_orders_waiting"))
        self.assertEqual(self.value("#attached"), 3)
        hits = metric("zeropool_tls_hits_total") + metric("zeropool_shared_hits_total")
        served = hits + metric("zeropool_allocations_total")
        self.assertAlmostEqual(self.value("#hit-rate"), hits / served)
        pools = self.table("pools")
        self.assertEqual([pool["Pool"] for pool in pools], ["frames", "audio"])
        for pool in pools:
            of = {"pool": pool["Pool"]}
            committed = metric("zeropool_committed_bytes", **of) + metric("zeropool_metadata_bytes", **of)
            self.assertEqual(pool["Committed"], committed)
            self.assertEqual(pool["Limit"], metric("zeropool_pool_limit_bytes", **of))
            self.assertEqual(pool["Reserved"], metric("zeropool_pool_reserved_bytes", **of))
            self.assertEqual(pool["Clients"], metric("zeropool_clients", **of))
            self.assertEqual(pool["Threads"], metric("zeropool_threads", **of))
            self.assertEqual(pool["Gets"], metric("zeropool_gets_total", **of))
        classes = self.table("classes")
        self.assertEqual(len(classes), 3)
        for row in classes:
            of = {"pool": row["Pool"], "class": row["Class"], "node": str(row["Node"])}
            for column, state in (("Held", "held"), ("Cached", "cached"), ("Free", "free"), ("Cold", "cold"),
                                  ("In transit", "in_transit")):
                self.assertEqual(row[column], metric("zeropool_slots", state=state, **of), (of, state))
            self.assertEqual(row["Gets"], metric("zeropool_gets_total", **of))
            self.assertEqual(row["Allocations"], metric("zeropool_allocations_total", **of))
            self.assertEqual(row["Failures"], metric("zeropool_get_failures_total", **of))
        clients = self.table("clients")
        self.assertEqual([(row["Client"], row["Pool"], row["Held"]) for row in clients],
                         [("holder", "frames", 20 * 65536), (HOSTILE, "frames", 300 * 4096),
                          (HOSTILE_TOO, "audio", 10 * 4096)])

    def test_figures_equal_the_daemons_own(self):
        self.at_rest()
        self.open()
        wait_for_polls(self.browser, 2)
        eventually(lambda: self.check_figures() or True, what="the page shows what /metrics says")
        self.assertEqual(self.browser.text("#verdict"), "All is well.")
        self.assert_no_complaint()

    def test_without_script_the_tables_are_there(self):
        self.at_rest()
        self.browser.script(False)
        self.browser.open(self.daemon.url)
        self.check_figures()
        self.assertIn("reload the page", self.browser.text("#live"))
        self.assertEqual(self.browser.run(
            "return [...document.querySelectorAll('.drawn')].filter((e) => e.getClientRects().length).length"), 0)

    def test_hostile_names_are_text(self):
        self.at_rest()
        for script in (False, True):
            self.browser.script(script)
            self.browser.open(self.daemon.url)
            if script:
                wait_for_polls(self.browser, 2)
            self.assertIn(HOSTILE, self.browser.text("#clients"))
            self.assertIn(HOSTILE_TOO, self.browser.text("#clients"))
            self.assertEqual(self.browser.run("return document.images.length"), 0)
            self.assertEqual(self.browser.run("return document.scripts.length"), 1)
            self.assertEqual(self.browser.run("return typeof hurt"), "undefined")
        self.assert_no_complaint()

    def test_the_policy_lets_nothing_else_run(self):
        self.open()
        with urllib.request.urlopen(self.daemon.url, timeout=20) as answer:
            policy = answer.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assert_no_complaint()  # its own style and script are let through
        self.assertEqual(self.browser.run("""
            return performance.getEntriesByType('resource').map((entry) => entry.name)
              .filter((name) => name !== location.origin + '/status.json')"""), [])
        self.browser.run("""
            const evil = document.createElement('script');
            evil.textContent = 'hurt = 2';
            document.body.append(evil);""")
        self.assertEqual(self.browser.run("return typeof hurt"), "undefined")
        self.assertIn("Content Security Policy", self.browser.console()[0]["message"])

    def test_text_is_readable_in_light_and_in_dark(self):
        self.at_rest()
        self.daemon.client("audio", "wants too much", size=4096, want=8000)
        eventually(lambda: not self.daemon.view()["healthy"], what="an order waits")
        for dark in (False, True):
            self.browser.look(dark=dark)
            self.open()
            seen, bad = self.browser.run(CONTRASTS)
            self.assertGreater(seen, 80)
            self.assertEqual(bad, [])
            light = self.browser.run("return getComputedStyle(document.body).backgroundColor")
            self.assertEqual(light == "rgb(246, 247, 249)", not dark)

    def test_a_phone_need_not_be_scrolled_sideways(self):
        self.at_rest()
        self.daemon.client("audio", "w" * 31, size=4096, want=8000)
        self.browser.look(360, 740, phone=True)
        for script in (True, False):
            self.browser.script(script)
            self.browser.open(self.daemon.url)
            if script:
                wait_for_polls(self.browser, 2)
            self.assertEqual(self.browser.run("return document.documentElement.scrollWidth"), 360)

    def test_keys_reach_everything_in_the_order_in_which_it_is_read(self):
        self.at_rest()
        self.open()
        where = "const e = document.activeElement; return e.getAttribute('aria-label') || e.textContent"
        order = []
        for _ in range(8):
            self.browser.press(TAB)
            order.append(self.browser.run(where))
        self.assertEqual(order, ["Skip to the figures", "Table of pools", "Table of clients", "Table of classes",
                                 "metrics", "figures as JSON", "healthy", "ready"])
        self.assertNotEqual(self.browser.run(
            "return getComputedStyle(document.activeElement).outlineStyle"), "none")
        self.browser.open(self.daemon.url)
        self.browser.press(TAB, ENTER, TAB)
        self.assertEqual(self.browser.run(where), "Table of pools")

    def test_a_screen_reader_finds_its_way(self):
        self.at_rest()
        self.open()
        wait_for_polls(self.browser, 2)
        run = self.browser.run
        self.assertEqual(run("return document.documentElement.lang"), "en")
        for landmark in ("header", "main", "footer", "nav"):
            self.assertEqual(run("return document.querySelectorAll(arguments[0]).length", landmark), 1)
        self.assertEqual(run("""return [...document.querySelectorAll('table')]
            .filter((table) => !table.caption || !table.caption.textContent
              || [...table.tHead.rows[0].cells].some((cell) => cell.scope !== 'col')
              || [...table.tBodies[0].rows].some((row) => row.cells[0].scope !== 'row')).length"""), 0)
        self.assertEqual(run("""return [...document.querySelectorAll('[aria-live]')]
            .map((live) => live.id + ' ' + live.getAttribute('aria-live'))"""), ["warnings polite"])
        drawn = run("""return [...document.querySelectorAll('svg')].filter((svg) => !svg.matches('[aria-hidden=true]'))
            .map((svg) => [svg.getAttribute('role'), svg.getAttribute('aria-label')])""")
        self.assertGreaterEqual(len(drawn), 4)
        self.assertTrue(all(role == "img" and label for role, label in drawn), drawn)
        self.assertIn("frames", drawn[0][1])
        self.assertIn("not committed", drawn[0][1])

    def test_the_budget_and_the_map_show_what_is_there(self):
        self.at_rest()
        self.open()
        wait_for_polls(self.browser, 2)
        widths = self.browser.run("""return [...document.querySelectorAll('#budget-bar rect')]
            .map((rect) => Number(rect.getAttribute('width')))""")
        view = self.daemon.view()
        self.assertEqual(len(widths), 3)  # two pools, and the daemon's own
        self.assertAlmostEqual(widths[0], 1000 * view["pools"][0]["committed_bytes"] / view["budget_bytes"], delta=3)
        cells = self.browser.run("""return [...document.querySelectorAll('#map .row')].map((row) =>
            [...row.querySelectorAll('rect')].map((rect) => ({hot: 'h', cold: 'c', absent: '.', changing: '~'})
              [rect.getAttribute('class')]).join(''))""")
        self.assertEqual(cells, [ring["cells"] for ring in view["maps"]])
        self.assertIn("h", "".join(cells))

    def test_a_warning_comes_in_words_with_its_remedy_and_goes(self):
        self.open()
        waiter = self.daemon.client("audio", "wants too much", size=4096, want=8000)
        eventually(lambda: "1 order waits for memory" in self.browser.text("#warnings"),
                   what="the page warns")
        self.assertIn("pool audio", self.browser.text("#warnings"))
        self.assertIn("raise its limit", self.browser.text("#warnings"))
        self.assertEqual(self.browser.text("#verdict"), "1 thing is not well.")
        status = self.daemon.ctl("status")
        self.assertIn("1 order waits for memory", status.stdout)
        waiter.kill()
        waiter.wait()
        eventually(lambda: self.browser.text("#verdict") == "All is well.", what="the warning goes")
        self.assertEqual(self.browser.text("#warnings"), "")
        self.assert_no_complaint()

    def test_a_daemon_that_goes_away_is_said_and_one_that_comes_back_is_shown(self):
        self.open()
        self.daemon.stop()
        eventually(lambda: "does not answer since" in self.browser.text("#verdict"), what="the page says so")
        self.assertIn("Start it", self.browser.text("#warnings"))
        self.daemon.start()
        eventually(lambda: self.browser.text("#verdict") == "All is well.", what="the page goes on")
        self.assertEqual(self.browser.text("#warnings"), "")

    def test_nobody_is_asked_while_nobody_looks(self):
        self.open()
        asked = "return performance.getEntriesByType('resource').length"
        hide = """const hidden = arguments[0];
            Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event('visibilitychange'));"""
        self.browser.run(hide, True)
        # One that was under way may still end; then there is none for longer than two would take.
        later = "return new Promise((done) => setTimeout(() => done(" + asked[7:] + "), 5000))"
        self.browser.run("return new Promise((done) => setTimeout(done, 1000))")
        before = self.browser.run(asked)
        self.assertEqual(self.browser.run(later), before)
        self.assertIn("paused", self.browser.text("#live"))
        self.browser.run(hide, False)
        eventually(lambda: self.browser.run(asked) > before, what="it asks again")


if __name__ == "__main__":
    for variable in ("ZEROPOOLD", "ZEROPOOLCTL", "LIBZEROPOOL"):
        if variable not in os.environ:
            raise SystemExit(f"{variable} is not set: run this by ctest")
    unittest.main(verbosity=2)
