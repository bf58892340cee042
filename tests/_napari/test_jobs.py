from __future__ import annotations

import gc
import sys
import threading
import time
import weakref

import pytest

from celltally._napari.jobs import SWITCH_AFTER, Job, Jobs, sentence
from celltally.errors import UserError
from celltally.types import Progress

pytestmark = pytest.mark.gui


class Heard:
    def __init__(self):
        self.what = []
        self.threads = set()

    def __getattr__(self, name):
        def hear(*values):
            self.threads.add(threading.get_ident())
            self.what.append((name.removeprefix("on_"), *values))

        return hear

    def callbacks(self):
        return {
            n: getattr(self, n) for n in ("on_done", "on_failed", "on_cancelled", "on_progress")
        }

    def ended(self):
        return any(entry[0] != "progress" for entry in self.what)


def test_a_job_runs_elsewhere_and_reports_here(qtbot):
    heard, where = Heard(), []

    def work():
        where.append(threading.get_ident())
        yield Progress(0, 1)
        return 7

    Jobs().start(work, **heard.callbacks())
    qtbot.waitUntil(heard.ended)
    assert heard.what[-1] == ("done", 7)
    assert heard.threads == {threading.get_ident()}
    assert where != [threading.get_ident()]


def test_progress_comes_at_most_four_times_a_second(qtbot):
    heard = Heard()

    def work():
        for i in range(100):
            yield Progress(i, 100)
            time.sleep(0.006)

    Jobs().start(work, **heard.callbacks())
    qtbot.waitUntil(heard.ended)
    assert 2 <= sum(entry[0] == "progress" for entry in heard.what) <= 5


def test_the_window_gets_its_turn_soon_while_there_are_jobs(qtbot):
    usual, jobs, going = sys.getswitchinterval(), Jobs(), [True, True]

    def work(which):
        while going[which]:
            yield Progress(0, 0)
            time.sleep(0.005)

    started = [jobs.start(lambda which=which: work(which), on_done=print) for which in (0, 1)]
    assert sys.getswitchinterval() == pytest.approx(SWITCH_AFTER)
    going[0] = False
    qtbot.waitUntil(lambda: not started[0].running)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_AFTER)
    going[1] = False
    qtbot.waitUntil(lambda: not started[1].running)

    def is_as_before():
        others = Job._alive - set(started)  # that another test left behind
        return bool(others) or sys.getswitchinterval() == pytest.approx(usual)

    qtbot.waitUntil(is_as_before)


def test_cancelling_ends_it_at_a_step_and_closes_the_generator(qtbot):
    heard, closed, steps = Heard(), [], []

    def work():
        try:
            for i in range(10_000):
                steps.append(i)
                yield Progress(i, 10_000)
                time.sleep(0.001)
        finally:
            closed.append(True)

    job = Jobs().start(work, **heard.callbacks())
    qtbot.waitUntil(lambda: len(steps) > 3)
    job.cancel()
    qtbot.waitUntil(heard.ended)
    assert heard.what[-1] == ("cancelled",)
    qtbot.waitUntil(lambda: closed == [True])
    assert len(steps) < 10_000
    assert not job.running


def test_cancelled_past_the_last_step_counts_as_cancelled(qtbot):
    heard, go = Heard(), threading.Event()

    def work():
        yield Progress(0, 1)
        go.wait(5)
        return 7

    job = Jobs().start(work, **heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.what))
    job.cancel()
    go.set()
    qtbot.waitUntil(heard.ended)
    assert heard.what[-1] == ("cancelled",)


@pytest.mark.parametrize("error", [UserError("no pixels"), RuntimeError("CUDA"), KeyError("k")])
def test_an_error_is_reported_once(error, qtbot):
    heard = Heard()

    def work():
        yield Progress(0, 1)
        raise error

    Jobs().start(work, **heard.callbacks())
    qtbot.waitUntil(heard.ended)
    ends = [entry for entry in heard.what if entry[0] != "progress"]
    assert ends == [("failed", error)]


def test_the_sentence_of_a_user_error():
    error = UserError("the image is empty; choose another")
    assert sentence(error) == "The image is empty; choose another"


def test_an_error_while_showing_the_result_is_an_error_of_the_job(qtbot):
    failed = []

    def work():
        yield Progress(0, 1)
        return 7

    def show(_):
        raise RuntimeError("no such layer")

    Jobs().start(work, on_done=show, on_failed=failed.append)
    qtbot.waitUntil(lambda: bool(failed))
    assert isinstance(failed[0], RuntimeError)


def test_what_is_no_fault_of_the_user_goes_to_the_log(caplog):
    text = sentence(ZeroDivisionError("division by zero"))
    assert text == "Something went wrong (ZeroDivisionError); see the log for details."
    assert "division by zero" in caplog.text


def test_stopping_silences_all(qtbot):
    heard, closed = Heard(), []

    def work():
        try:
            for i in range(10_000):
                yield Progress(i, 10_000)
                time.sleep(0.001)
        finally:
            closed.append(True)

    jobs = Jobs()
    jobs.start(work, **heard.callbacks())
    qtbot.wait(20)
    before = len(heard.what)
    jobs.stop()
    qtbot.waitUntil(lambda: closed == [True])
    qtbot.wait(50)
    assert len(heard.what) == before


def test_what_a_job_calls_back_goes_with_it(viewer, qtbot):
    class Held:
        """Such as an image."""

    held, ended = Held(), []

    def work():
        yield Progress(0, 1)

    Jobs().start(work, on_done=lambda _, held=held: ended.append(type(held)))
    gone = weakref.ref(held)
    del held
    qtbot.waitUntil(lambda: bool(ended) and not Job._alive)
    gc.collect()
    assert gone() is None
