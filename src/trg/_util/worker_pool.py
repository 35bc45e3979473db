"""Processes that work side by side; one that the system ends is replaced."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

Job = TypeVar("Job")

Ask = Callable[[Any], Any]
"""Sends a message from a worker to the ``answer`` of the pool, and returns its answer."""

Work = Callable[[Job, Ask], Any]
"""Does a job in a worker; the result can be pickled."""

TICK_S = 0.2
MAX_START_DEATHS = 3
"""Workers that may die one after another before they take a job."""

END_S = 2.0
"""Time that a worker gets to end before it is killed."""

_IGNORED_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
"""Of workers: the parent gets them too, and ends its workers."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied(NamedTuple):
    """The result of a job whose worker was ended."""

    exit_code: int | None
    """Negative: the number of a signal."""

    def __str__(self) -> str:
        """Return what happened, for messages."""
        if self.exit_code is not None and self.exit_code < 0:
            with suppress(ValueError):
                name = signal.Signals(-self.exit_code).name
                hint = ", often for lack of memory" if name == "SIGKILL" else ""
                return f"the worker process was ended by {name}{hint}"
        return f"the worker process ended with exit code {self.exit_code}"


class WorkerPool(Generic[Job]):
    """Processes that each do one job at a time; a context manager, at whose end they are ended.

    They start with the first jobs, with one thread for numeric libraries. They ignore Ctrl-C, which
    a terminal sends to them too, and end when this process ends, however it ends.

    Parameters
    ----------
    start
        Called once in each process; returns the function that does a job. Can be pickled.
    count
        Largest number of processes.
    """

    def __init__(self, start: Callable[[], Work[Job]], count: int) -> None:
        self._start = pickle.dumps(start)
        self._workers: list[_Worker[Job]] = []
        self._count = count
        self._returned: deque[Job] = deque()
        """Jobs of workers that died before they took them."""
        self._start_deaths = 0

    def __enter__(self) -> WorkerPool[Job]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []

    def run(
        self,
        next_job: Callable[[], Job | None],
        answer: Callable[[Job, Any], Any] = lambda job, message: None,
        tick: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[Job, Any]]:
        """Yield jobs with their results, or :class:`WorkerDied`, in the order in which they end.

        ``next_job`` returns None while there is none; the run ends when there is none and none is
        at work. ``answer`` gets what a worker asks during its job. ``tick`` is called several times
        a second, and may raise an exception to end the run.

        Raises
        ------
        Exception
            What the start or a job raises in a worker.
        OSError
            Workers die before they take a job.
        """
        while True:
            tick()
            self._assign(next_job)
            busy = {worker.connection: worker for worker in self._workers if worker.has_job}
            if not busy:
                return
            for connection in wait(list(busy), TICK_S):
                worker = busy[connection]  # type: ignore[index]  # the same objects
                yield from self._receive(worker, answer)

    def run_one(self, job: Job) -> Any:
        """Return the result of one job; parameters and errors are those of :meth:`run`."""
        jobs = [job]
        ((_, result),) = self.run(lambda: jobs.pop() if jobs else None)
        return result

    def _assign(self, next_job: Callable[[], Job | None]) -> None:
        """Give jobs to idle workers; start further ones for further jobs."""
        idle = [worker for worker in self._workers if not worker.has_job]
        while idle or len(self._workers) < self._count:
            job = self._returned.popleft() if self._returned else next_job()
            if job is None:
                return
            if idle:
                idle.pop().give(job)
            else:
                self._workers.append(_Worker(job))

    def _receive(
        self, worker: _Worker[Job], answer: Callable[[Job, Any], Any]
    ) -> Iterator[tuple[Job, Any]]:
        job = worker.job
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if kind == "ready":
            worker.send_bytes(self._start)
        elif kind == "started":
            self._start_deaths = 0
            worker.is_started = True
            worker.give(job)
        elif kind == "asked":
            worker.send(answer(job, content))
        elif kind == "done":
            worker.has_job = False
            yield job, content
        else:
            error, text = content
            raise error from RuntimeError(f"in a worker process:\n{text}")

    def _replace(self, worker: _Worker[Job]) -> Iterator[tuple[Job, Any]]:
        """Remove a dead worker; another one starts with the next job."""
        worker.end()
        self._workers.remove(worker)
        died = WorkerDied(worker.process.exitcode)
        if worker.is_started:
            yield worker.job, died
            return
        self._start_deaths += 1
        if self._start_deaths > MAX_START_DEATHS:
            raise OSError(f"{died}, {self._start_deaths} times before its first job; use fewer")
        self._returned.append(worker.job)


class _Worker(Generic[Job]):
    """A process and the job that it does, or gets when it has started."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(other_end,))
        with _one_thread(), _held_signals():
            self.process.start()
        other_end.close()  # so that the end of the process ends the connection
        self.job, self.has_job, self.is_started = job, True, False

    def give(self, job: Job) -> None:
        self.job, self.has_job = job, True
        self.send(job)

    def send(self, message: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its death is received later
            self.connection.send(message)

    def send_bytes(self, message: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(message)

    def end(self) -> None:
        self.process.terminate()
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that start in this block use one thread for numeric libraries."""
    earlier = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _held_signals() -> Iterator[None]:
    """Hold signals back from processes that start in this block, until they ignore them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its own start would let the signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection) -> None:
    """Do jobs until the parent ends the connection or this process."""
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED_SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def ask(message: Any) -> Any:
        connection.send(("asked", message))
        return connection.recv()

    try:
        connection.send(("ready", None))
        start = connection.recv()
        try:
            work = start()
            connection.send(("started", None))
            while True:
                connection.send(("done", work(connection.recv(), ask)))
        except Exception as error:  # any of the work: the parent raises it
            connection.send(("failed", (_portable(error), traceback.format_exc())))
            connection.recv()
    except (EOFError, OSError):  # the parent has gone
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """Return the error if it can be pickled, and otherwise one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception class may raise anything while it is pickled or restored
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
