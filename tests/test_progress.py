import pytest

from celltally.progress import drain, relay, standing
from celltally.types import Progress


def job(steps, closed):
    try:
        for done in range(1, steps + 1):
            yield Progress(done, steps)
    finally:
        closed.append(True)
    return "result"


def test_draining_gives_the_result_and_shows_every_step():
    seen, closed = [], []
    assert drain(job(3, closed), seen.append) == "result"
    assert [p.done for p in seen] == [1, 2, 3]
    assert closed == [True]


def test_a_job_without_steps():
    assert drain(job(0, [])) == "result"


def test_an_error_in_the_callback_ends_the_job():
    closed = []

    def fail(progress):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        drain(job(3, closed), fail)
    assert closed == [True]


def test_a_relayed_job_tells_other_steps_and_returns_its_result():
    def inner():
        yield Progress(1, 2, "tile")
        yield Progress(2, 2, "tile")
        return "done"

    told = []
    job = relay(inner(), lambda step: Progress(7, 9, f"image, tile {step.done}"))
    assert drain(job, told.append) == "done"
    assert [(s.done, s.total, s.message) for s in told] == [
        (7, 9, "image, tile 1"),
        (7, 9, "image, tile 2"),
    ]


def test_the_bar_stands_still_while_a_job_runs_that_is_not_its_own():
    told, here = [], Progress(7, 9, "learning")
    assert drain(relay(job(2, []), standing(here)), told.append) == "result"
    assert told == [here, here]
