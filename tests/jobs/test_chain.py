import os
import random
import signal
import time
from pathlib import Path

import pytest

from napari_cas.config import Config
from napari_cas.errors import StorageError, WorkerDiedError
from napari_cas.jobs import Outcome, RoundChain
from napari_cas.protocol import Box, RoundRequest, Tile
from napari_cas.session.dispatch import DispatchQueue

WAIT = 60


class Chain:
    """A chain whose callbacks are kept, driven by a queue in this thread."""

    def __init__(self, executor, project, function, *, max_rounds=5, view=lambda: None):
        self.reports, self.warnings, self.ends = [], [], []
        self.queue = DispatchQueue()
        self.on_report = lambda _: None
        self.chain = RoundChain(
            executor,
            lambda number, checkpoint: RoundRequest(
                str(project), Config(), view(), checkpoint, number
            ),
            max_rounds=max_rounds,
            dispatch=self.queue,
            on_report=self.reported,
            on_warning=self.warnings.append,
            on_finished=lambda *end: self.ends.append(end),
            function=f"work_functions:{function}",
        )

    def reported(self, report):
        self.reports.append(report)
        self.on_report(report)

    def run(self, timeout=WAIT):
        assert self.queue.run_until(lambda: bool(self.ends), timeout)
        assert not self.chain.running
        ((outcome, error),) = self.ends
        return outcome, error


def test_each_round_starts_from_the_checkpoint_of_the_last(executor, tmp_path):
    chain = Chain(executor, tmp_path, "round_quick", max_rounds=3)
    chain.chain.start("before")
    assert chain.run() == (Outcome.LIMIT, None)
    rounds = (tmp_path / "rounds.txt").read_text().split("\n")[:-1]
    assert rounds == ["0 before", "1 round-0", "2 round-1"]
    assert [r.checkpoint for r in chain.reports] == ["round-0", "round-1", "round-2"]


def test_stops_when_converged(executor, tmp_path):
    chain = Chain(executor, tmp_path, "round_converging", max_rounds=9)
    chain.chain.start()
    assert chain.run() == (Outcome.DONE, None)
    assert len(chain.reports) == 3


def test_cancelling_lets_the_running_round_report_and_chains_no_other(executor, tmp_path):
    executor.submit("os:getpid").result(WAIT)
    chain = Chain(executor, tmp_path, "round_slow", max_rounds=9)
    chain.chain.start()
    chain.on_report = lambda _: None
    time.sleep(0.1)
    chain.chain.cancel()
    assert chain.chain.running
    assert chain.chain.cancelled
    assert chain.run() == (Outcome.CANCELLED, None)
    assert len(chain.reports) == 1
    assert not list(tmp_path.glob("pid-1"))


def test_an_abandoned_chain_never_calls_back(executor, tmp_path):
    chain = Chain(executor, tmp_path, "round_slow")
    chain.chain.start()
    chain.chain.abandon()
    executor.submit("os:getpid").result(WAIT)  # behind the round
    assert not chain.queue.run_until(lambda: bool(chain.reports or chain.ends), 0.3)


def test_each_round_sees_the_view_of_its_moment(executor, tmp_path):
    views = iter([Tile("a", (), Box(0, 0, n, n)) for n in (1, 2, 3)])
    seen = []
    chain = Chain(executor, tmp_path, "round_quick", max_rounds=3, view=lambda: next(views))
    chain.on_report = seen.append
    chain.chain.start()
    chain.run()
    assert next(views, None) is None
    assert len(seen) == 3


def test_a_listeners_error_is_heard_and_the_chain_goes_on(executor, tmp_path):
    chain = Chain(executor, tmp_path, "round_quick", max_rounds=2)

    def fail_once(report):
        if report.checkpoint == "round-0":
            raise ZeroDivisionError

    chain.on_report = fail_once
    chain.chain.start()
    with pytest.raises(ZeroDivisionError):
        chain.run()
    assert chain.run() == (Outcome.LIMIT, None)
    assert len(chain.reports) == 2


def test_a_worker_that_dies_costs_one_round(executor, tmp_path):
    chain = Chain(executor, tmp_path, "round_dying_once", max_rounds=3)
    chain.chain.start()
    assert chain.run() == (Outcome.LIMIT, None)
    assert [type(w) for w in chain.warnings] == [WorkerDiedError]
    assert [r.checkpoint for r in chain.reports] == ["round-0", "round-1", "round-2"]


def test_a_round_that_always_kills_its_worker_ends_with_the_message(executor, tmp_path):
    chain = Chain(executor, tmp_path, "die")
    chain.chain.start()
    outcome, error = chain.run()
    assert outcome is Outcome.FAILED
    assert isinstance(error, WorkerDiedError)
    assert "strokes are safe" in error.todo
    assert len(chain.warnings) == 2


def test_an_error_ends_the_chain_and_says_why(executor, tmp_path):
    chain = Chain(executor, tmp_path, "round_failing")
    chain.chain.start()
    outcome, error = chain.run()
    assert outcome is Outcome.FAILED
    assert isinstance(error, StorageError)
    assert not chain.warnings


def test_a_death_after_cancelling_is_no_error(executor, tmp_path):
    executor.submit("os:getpid").result(WAIT)
    chain = Chain(executor, tmp_path, "round_waiting_to_be_killed")
    chain.chain.start()
    while not (pid := _read(tmp_path / "pid-0")):
        time.sleep(0.01)
    chain.chain.cancel()
    os.kill(int(pid), signal.SIGKILL)
    assert chain.run() == (Outcome.CANCELLED, None)


@pytest.mark.parametrize("seed", [0])
def test_kill_9_in_mid_round_again_and_again(executor, tmp_path, seed):
    """Killed once in each of five rounds, at random moments: all rounds are done all the same."""
    moment = random.Random(seed)
    executor.submit("os:getpid").result(WAIT)
    chain = Chain(executor, tmp_path, "round_waiting_to_be_killed", max_rounds=5)
    killed = set()

    def kill_soon():
        number = len(chain.reports)
        pid = _read(tmp_path / f"pid-{number}")
        if pid and number not in killed:
            killed.add(number)
            time.sleep(moment.uniform(0, 0.4))
            os.kill(int(pid), signal.SIGKILL)
        return bool(chain.ends)

    chain.chain.start()
    end = time.monotonic() + WAIT
    while not chain.queue.run_until(kill_soon, 0.02):
        assert time.monotonic() < end
    assert [r.checkpoint for r in chain.reports] == [f"round-{n}" for n in range(5)]
    assert len(chain.warnings) == 5
    assert chain.ends == [(Outcome.LIMIT, None)]


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
