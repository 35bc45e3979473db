"""Work for the processes of a pool, in a module that they import quickly."""

from __future__ import annotations

import os
import signal
import time


def start():
    return work


def work(job, ask):
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "fail":
        raise FileNotFoundError("as asked")
    if job == "sleep":
        ask(os.getpid())
        time.sleep(60.0)
    if job == "ask":
        return ask("question")
    return job, os.getpid(), os.environ["OMP_NUM_THREADS"]


def die_at_start():
    os.kill(os.getpid(), signal.SIGKILL)
