"""Interleaved rounds: in each, every task once, in an order of its own, as a fresh process."""

import json
import os
import random
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass, field

IMPOSSIBLE = 77
SPREAD = 0.3  # no verdict beyond
PROCESS_SECONDS = 60
CUT = 1.2  # of the time limit


@dataclass
class Figures:
    """What the repetitions of one task gave."""
    values: list = field(default_factory=list)
    probes: list = field(default_factory=list)
    why: str = ""  # there are none

    @property
    def median(self):
        return statistics.median(self.values) if self.values else None

    @property
    def range(self):
        return [min(self.values), max(self.values)] if self.values else None


def spread(values):
    """How far apart, of the median."""
    if not values or max(values) == min(values):
        return 0.0
    median = abs(statistics.median(values))
    return (max(values) - min(values)) / median if median else float("inf")


def run_process(words, environment):
    """Its JSON, or why there is none. Its children are gone, too, when this returns."""
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        out, err = process.communicate(timeout=PROCESS_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, f"not done after {PROCESS_SECONDS} s"
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if process.returncode == IMPOSSIBLE:
        return None, "cannot do this"
    last = (out.strip().splitlines() or [""])[-1]
    try:
        if process.returncode == 0:
            return json.loads(last), ""
    except json.JSONDecodeError:
        pass
    said = (err.strip().splitlines() or ["no word"])[-1]
    return None, f"failed ({process.returncode}): {said.rpartition(': ')[2] if len(said) > 160 else said}"


class Rounds:
    def __init__(self, installed, environment, seconds, say):
        self.installed = installed
        self.environment = {**os.environ, **environment}
        self.seconds = seconds
        self.say = say
        self.figures = {}
        self.done = 0

    def words(self, task, cpus):
        words = [str(self.installed.binaries / f"zeropool_work_{task.peer.program}"), task.work, "--bytes",
                 str(task.size), "--seconds", str(self.seconds), "--cpus", ",".join(map(str, cpus))]
        return words + (["--variant", task.peer.variant] if task.peer.variant else [])

    def once(self, task):
        """One repetition: (value, probes) or why not."""
        environment = {**self.environment, **self.installed.environment(task.peer)}
        if task.copies == 1:
            answer, why = run_process(self.words(task, task.cpus), environment)
            return (answer["value"], answer["probes"], "") if answer else (None, [], why)
        share = len(task.cpus) // task.copies
        processes = [subprocess.Popen(self.words(task, task.cpus[i * share:(i + 1) * share]), env=environment,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                     for i in range(task.copies)]
        answers = []
        for process in processes:
            try:
                out, _ = process.communicate(timeout=PROCESS_SECONDS)
                answers.append(json.loads(out))
            except (subprocess.TimeoutExpired, json.JSONDecodeError):
                process.kill()
                process.communicate()
        if len(answers) < task.copies:
            return None, [], f"{task.copies - len(answers)} of {task.copies} failed"
        return statistics.mean(a["value"] for a in answers), [n for a in answers for n in a["probes"]], ""

    def run(self, tasks, first, rounds, time_limit):
        """Up to so many rounds; none is begun that would end after the limit, and one that takes too long is cut. So those in
        `first` come first in each."""
        order = random.Random(1)
        tasks = list(tasks)
        for task in tasks:
            self.figures[task] = Figures(why=self.installed.why_not(task.peer))
        begun = time.monotonic()
        for number in range(rounds):
            round_begun = time.monotonic()
            order.shuffle(tasks)
            tasks.sort(key=lambda task: task not in first)
            for task in tasks:
                figures = self.figures[task]
                if figures.why:
                    continue
                if time.monotonic() - begun > CUT * time_limit:
                    figures.why = "" if figures.values else "no time was left"
                    continue
                value, probes, why = self.once(task)
                if why:
                    figures.why = why
                else:
                    figures.values.append(value)
                    figures.probes += probes
            self.done = number + 1
            took = time.monotonic() - round_begun
            self.say(f"round {self.done} of {rounds}: {took:.0f} s")
            if time.monotonic() - begun + took > time_limit:
                break
