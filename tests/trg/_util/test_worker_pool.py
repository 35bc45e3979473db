"""Processes that work side by side: their results, their deaths, and their end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import pytest

from tests.support import pool_work
from tests.support.child_process import start_python
from trg._util.worker_pool import WorkerDied, WorkerPool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")


def run(pool, jobs, **functions):
    waiting = list(jobs)
    return list(pool.run(lambda: waiting.pop(0) if waiting else None, **functions))


def test_a_killed_worker_is_replaced_and_costs_its_own_job_only():
    with WorkerPool(pool_work.start, 2) as pool:
        done = run(pool, ["a", "die", "b", "ask", "c"], answer=lambda job, text: (job, text))
    results = dict(done)
    assert len(done) == 5
    assert results["die"] == WorkerDied(-signal.SIGKILL)
    assert "SIGKILL" in str(results["die"])
    assert results["ask"] == ("ask", "question")
    assert {results[job][0] for job in "abc"} == {*"abc"}
    assert results["a"][1] != os.getpid()
    assert results["a"][2] == "1"  # one thread for numeric libraries
    assert not multiprocessing.active_children()


def test_an_error_of_a_worker_is_raised_with_its_type():
    with (
        pytest.raises(FileNotFoundError, match="as asked") as caught,
        WorkerPool(pool_work.start, 1) as pool,
    ):
        run(pool, ["fail"])
    assert "in a worker process" in str(caught.value.__cause__)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_workers_that_cannot_start_are_an_error():
    with (
        pytest.raises(OSError, match="before its first job"),
        WorkerPool(pool_work.die_at_start, 1) as pool,
    ):
        run(pool, ["a"])


PARENT = """
from tests.support import pool_work
from trg._util.worker_pool import WorkerPool
jobs = ["sleep"]
with WorkerPool(pool_work.start, 1) as pool:
    list(pool.run(lambda: jobs.pop() if jobs else None, lambda job, pid: print(pid, flush=True)))
"""


def test_workers_end_with_a_parent_that_is_killed():
    parent = start_python(PARENT, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    for _ in range(300):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlives its parent")


def test_ctrl_c_while_a_worker_starts_does_not_end_it(tmp_path, monkeypatch):
    # Python imports this before anything else of the worker.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if '--multiprocessing-fork' in sys.orig_argv:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with WorkerPool(pool_work.start, 1) as pool:
        assert pool.run_one("a")[0] == "a"
