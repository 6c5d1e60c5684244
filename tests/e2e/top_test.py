#!/usr/bin/env python3
"""zeropoolctl top in a real terminal (tmux), and what it does for pipes."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from zeropool_process import Daemon, eventually

CONFIG = """budget: 64MiB
pages: {size: [4KiB]}
pools:
  frames: {reserved: 8MiB, classes: [4KiB, 64KiB], wait: {timeout: 120s}}
  audio: {limit: 16MiB, classes: [4KiB], wait: {timeout: 120s}}
"""
HOSTILE = "\x1b]0;owned\x07\x1b[31mred"
WIDE = "摄像机" + "e\u0301" + "z"  # two columns each, and a letter with an accent of its own


class Terminal:
    """A tmux server of one's own, with one window."""

    def __init__(self, columns, lines, command, environment=None):
        if shutil.which("tmux") is None:
            raise SystemExit("tmux is not installed: scripts/packages --install e2e")
        self._folder = tempfile.TemporaryDirectory(prefix="zeropool-tmux-")
        self._socket = os.path.join(self._folder.name, "socket")
        names = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(environment or {})}
        variables = " ".join(f"{name}={value!r}" for name, value in names.items())
        # The shell stays, so that it can be asked what is left of the terminal.
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines),
                  f"env PS1='ready ' {variables} bash --norc --noprofile")
        eventually(lambda: "ready" in self.text(), what="the shell is there")
        self.before = self.modes()
        self.type(command, "Enter")

    def tmux(self, *arguments):
        answer = subprocess.run(["tmux", "-S", self._socket, *arguments], capture_output=True, text=True, timeout=60)
        if answer.returncode != 0:
            raise AssertionError(f"tmux {arguments}: {answer.stderr}")
        return answer.stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")
        self._folder.cleanup()

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def text(self):
        return self.tmux("capture-pane", "-p")

    def coloured(self):
        return self.tmux("capture-pane", "-p", "-e")

    def resize(self, columns, lines):
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def modes(self):
        """What a program may leave behind: alternate screen, hidden cursor, no wrapping."""
        return self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").strip()

    def shows(self, text, seconds=30):
        eventually(lambda: text in self.text(), seconds, f"the terminal shows {text!r}; it shows:\n{self.text()}")

    def assert_restored(self, test):
        test.assertEqual(self.modes(), self.before)
        self.type("stty -a | grep -o ' -\\?echo \\| -\\?icanon' | tr '\\n' ';'", "Enter")
        eventually(lambda: "icanon" in self.text().split("tr '")[-1], what="stty answers")
        test.assertIn(" icanon; echo", self.text())


def top(daemon, *arguments):
    return " ".join([os.environ["ZEROPOOLCTL"], "--socket", daemon.socket, "top", "--interval", "0.3", *arguments])


class Top(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon(CONFIG))

    def terminal(self, columns=80, lines=24, arguments=(), environment=None):
        return self.enterContext(Terminal(columns, lines, top(self.daemon, *arguments), environment))

    def load(self):
        self.daemon.client("frames", "camera", size=65536, hold=20, busy=10)
        self.daemon.client("frames", HOSTILE, size=4096, hold=300)
        self.daemon.client("audio", WIDE, size=4096, hold=10)

    def test_it_shows_pools_clients_and_classes(self):
        self.load()
        terminal = self.terminal(200, 50)
        terminal.shows("All is well.")
        terminal.shows("COMMITTED")
        eventually(lambda: re.search(r"frames +\S+ MiB +[1-9][\d.]*( k| M)? +\d+\.\d\d%", terminal.text()),
                   what="gets a second of frames")
        terminal.type("2")
        terminal.shows("1.25 MiB")  # camera's twenty
        rows = [line for line in terminal.text().splitlines() if "frames" in line or "audio" in line]
        self.assertTrue(rows[0].startswith("camera"), rows)
        self.assertIn("?]0;owned??[31mred", terminal.text())
        self.assertTrue(any(row.startswith(WIDE) for row in rows), rows)
        terminal.type("Tab")
        terminal.shows("CONTENTION/S")
        self.assertIn("64KiB", terminal.text())

    def test_rows_are_sorted_by_the_column_that_is_chosen(self):
        self.load()
        terminal = self.terminal(200, 50, ["--view", "clients"])
        terminal.shows("HELDv")

        def names():
            lines = terminal.text().splitlines()
            first = next(i for i, line in enumerate(lines) if line.startswith("CLIENT"))
            return [line.split()[0] for line in lines[first + 1:first + 4]]

        eventually(lambda: names()[0] == "camera", what="the largest holder is first")
        terminal.type("r")
        terminal.shows("HELD^")
        eventually(lambda: names()[2] == "camera", what="the largest holder is last")
        terminal.type("<")
        terminal.shows("CLIENT^")
        eventually(lambda: names() == sorted(names()), what="by name")

    def test_no_line_wraps_whatever_the_size(self):
        self.load()
        self.daemon.client("audio", "wants too much", size=4096, want=8000)
        eventually(lambda: not self.daemon.view()["healthy"], what="an order waits")
        for columns, lines in ((80, 24), (40, 10), (200, 50), (20, 6), (8, 3)):
            for view in ("pools", "clients", "classes"):
                with Terminal(columns, lines, top(self.daemon, "--view", view)) as terminal:
                    # A title begins each screen: nothing has pushed it out.
                    eventually(lambda: terminal.text().startswith("zeropool"[:columns - 1]), what="the screen is drawn")
                    shown = terminal.text().split("\n")
                    self.assertLessEqual(len(shown), lines + 1)
                    if lines >= 10:
                        header = [line for line in shown if line.startswith(("POOL", "CLIENT"))]
                        self.assertEqual(len(header), 1, shown)
                        self.assertIn("thing is not well", terminal.text())
                        # Whole columns: a title is there with its values, or not at all.
                        self.assertRegex(header[0].rstrip(), r"(PID|NT|/S|ED|TE|TS|IT|RK|UID|DE|LD|SS|EE|NG|DS|[v^])$")
                    if columns == 40:
                        self.assertIn("columns hidden", terminal.text())
                    if columns == 200:
                        self.assertNotIn("hidden", terminal.text())

    def test_it_follows_the_size_of_the_window(self):
        self.load()
        terminal = self.terminal(200, 50)
        terminal.shows("RESERVED")
        terminal.resize(40, 10)
        terminal.shows("columns hidden")
        eventually(lambda: "RESERVED" not in terminal.text(), what="columns are dropped")
        terminal.resize(200, 50)
        terminal.shows("RESERVED")

    def test_rows_that_do_not_fit_are_scrolled_to(self):
        for number in range(12):
            self.daemon.client("frames", f"client-{number:02}", size=4096, hold=12 - number)
        terminal = self.terminal(80, 12, ["--view", "clients"])
        terminal.shows("client-00")
        terminal.shows("rows below")
        self.assertNotIn("client-11", terminal.text())
        terminal.type("End")
        terminal.shows("client-11")
        self.assertIn("rows above", terminal.text())
        terminal.type("Home")
        terminal.shows("client-00")

    def test_help_comes_and_goes(self):
        terminal = self.terminal()
        terminal.shows("All is well.")
        terminal.type("?")
        terminal.shows("page up")
        terminal.type("x")
        eventually(lambda: "page up" not in terminal.text(), what="the help is gone")

    def test_however_it_ends_the_terminal_is_as_it_was(self):
        for end in ("q", "C-c", "TERM", "HUP", "QUIT"):
            terminal = self.terminal()
            terminal.shows("All is well.")
            self.assertEqual(terminal.modes(), "1 0 0")
            if end.isupper():
                pid = eventually(lambda: self.pid_of_top(terminal), what="top runs")
                subprocess.run(["kill", f"-{end}", pid], check=True)
            else:
                terminal.type(end)
            eventually(lambda: terminal.modes() == terminal.before, what=f"top has ended by {end}")
            terminal.assert_restored(self)

    def pid_of_top(self, terminal):
        shell = terminal.tmux("display-message", "-p", "#{pane_pid}").strip()
        answer = subprocess.run(["pgrep", "-P", shell], capture_output=True, text=True, check=False)
        return answer.stdout.strip()

    def test_it_can_be_stopped_and_continued(self):
        terminal = self.terminal()
        terminal.shows("All is well.")
        terminal.type("C-z")
        terminal.shows("Stopped")
        terminal.assert_restored(self)
        terminal.type("fg", "Enter")
        eventually(lambda: terminal.modes() == "1 0 0", what="top goes on")
        terminal.shows("All is well.")
        terminal.type("q")
        eventually(lambda: terminal.modes() == terminal.before, what="top has ended")

    def test_a_daemon_that_goes_away_is_said_and_one_that_comes_back_is_shown(self):
        terminal = self.terminal()
        terminal.shows("All is well.")
        self.daemon.stop()
        terminal.shows("no answer since")
        self.daemon.start()
        terminal.shows("All is well.")
        terminal.type("q")
        eventually(lambda: terminal.modes() == terminal.before, what="top has ended")

    def test_it_waits_for_a_daemon_that_is_not_there_yet(self):
        self.daemon.stop()
        terminal = self.terminal()
        terminal.shows("no daemon")
        self.daemon.start()
        terminal.shows("All is well.")

    def test_no_colour_where_none_is_wanted(self):
        colour = re.compile(r"\x1b\[[\d;]*3[0-7]m")
        plain = self.terminal(environment={"NO_COLOR": "1"})
        plain.shows("All is well.")
        self.assertNotRegex(plain.coloured(), colour)
        coloured = self.terminal()
        coloured.shows("All is well.")
        self.assertRegex(coloured.coloured(), colour)

    def test_where_nothing_can_be_drawn_it_says_so(self):
        terminal = self.terminal(200, 24, environment={"TERM": "dumb"})
        terminal.shows("use --once")
        self.assertEqual(terminal.modes(), terminal.before)
        piped = self.daemon.ctl("top")
        self.assertEqual(piped.returncode, 2)
        self.assertIn("use --once", piped.stderr)

    def test_once_prints_plain_text_for_pipes(self):
        self.load()
        for view, row in (("pools", "frames"), ("clients", "camera"), ("classes", "64KiB")):
            answer = self.daemon.ctl("top", "--once", "--interval", "0.5", "--view", view)
            self.assertEqual((answer.returncode, answer.stderr), (0, ""))
            self.assertIn(row, answer.stdout)
            self.assertNotIn("\x1b", answer.stdout)
        document = self.daemon.ctl("top", "--json")
        self.assertIn('"totals"', document.stdout)

    def test_what_there_is_not_is_refused_with_what_there_is(self):
        for arguments, words in ((["--view", "rings"], "there are: pools, clients, classes"),
                                 (["--sort", "size"], "committed"), (["--interval", "0"], "interval")):
            answer = self.daemon.ctl("top", "--once", *arguments)
            self.assertEqual(answer.returncode, 2)
            self.assertIn(words, answer.stderr)
        self.daemon.stop()
        self.assertEqual(self.daemon.ctl("top", "--once").returncode, 3)

    def test_status_says_in_one_screen_whether_all_is_well(self):
        well = self.daemon.ctl("status").stdout
        self.assertTrue(well.startswith("All is well.\n"), well)
        for number in range(3):
            self.daemon.client("audio", f"wants too much {number}", size=4096, want=8000)
        eventually(lambda: "not well" in self.daemon.ctl("status").stdout, what="status says so")
        lines = self.daemon.ctl("status").stdout.splitlines()
        self.assertEqual(lines[0], "1 thing is not well.")
        self.assertIn("orders wait for memory", lines[1])
        self.assertIn("raise its limit", lines[2])
        self.assertLessEqual(len(lines), 24)


if __name__ == "__main__":
    for variable in ("ZEROPOOLD", "ZEROPOOLCTL", "LIBZEROPOOL"):
        if variable not in os.environ:
            raise SystemExit(f"{variable} is not set: run this by ctest")
    unittest.main(verbosity=2)
