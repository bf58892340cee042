import pytest

from celltally.progress import drain
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
