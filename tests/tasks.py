"""What workers of the tests do: functions that another process can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

NAN, RAISES, DIES, HANGS, SHAPE, KILLED, COMPLEX = (
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    0.95,
    0.97,
)  # states at which a simulator fails


def squares(marks: Path):
    """Return squares of tasks; who does task 3 for the first time is killed, and so is whoever does task 9."""

    def work(task: int) -> int:
        if task == 9 or (task == 3 and not (marks / "3").exists()):
            (marks / "3").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task * task

    return work


def sleepy(marks: Path):
    """Return work that never ends, and leaves the number of its process."""

    def work(task: int) -> None:
        (marks / str(os.getpid())).touch()
        time.sleep(600)

    return work


def forking():
    """Return work after which there are two processes, one of which has another result."""

    def work(task: int) -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return task
        if task % 2:
            raise ValueError("not mine")
        return -1

    return work


def orphaned(marks: Path):
    """Return work that ends its process, and leaves behind what it has forked."""

    def work(task: int) -> None:
        child = os.fork()
        if not child:
            time.sleep(600)
        (marks / str(child)).touch()
        os._exit(4)

    return work


def refusing():
    raise ValueError("no licence")


def dying():
    os._exit(3)


def deadly():
    """Return work that kills who does it, not at once: Dask gives up workers that die while they start."""

    def work(task: float) -> None:
        time.sleep(task)
        os.kill(os.getpid(), signal.SIGKILL)

    return work


def twice():
    return lambda task: 2 * task


def lost_rollouts():
    """Return work that fails as a black box does."""
    from scpo_ctrl.errors import EvaluationError

    def work(task: int) -> None:
        raise EvaluationError("the simulator left the mesh")

    return work


def threads():
    """Return work that says how many threads a worker may use."""
    from scpo_ctrl.compiled import most_threads

    return lambda task: (most_threads(), os.environ["OPENBLAS_NUM_THREADS"])


def intervals(share: float, marks: Path | None = None):
    """Return a problem of which a share violates; the first process that makes it with `marks` is killed soon after."""
    from planted import interval_problem  # which the other tasks need not wait for

    problem = interval_problem(share)
    if marks is not None and not (marks / "once").exists():
        (marks / "once").touch()
        evaluate, calls = problem.evaluate_scenarios, []

        def killed(theta, batch):
            calls.append(batch)
            if len(calls) > 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return evaluate(theta, batch)

        problem.evaluate_scenarios = killed
    return problem


def failing(slow: float = 600.0):
    """Return x⁺ = 0.5 x + u, which fails in every way at one state each."""

    def step(x: np.ndarray, u: np.ndarray, p: np.ndarray) -> np.ndarray:
        at = x[:, 0]
        if (at == RAISES).any():
            raise ValueError("out of the mesh")
        if (at == DIES).any():
            os._exit(7)
        if (at == KILLED).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (at == HANGS).any():
            time.sleep(slow)
        if (at == SHAPE).any():
            return np.zeros(3)
        if (at == COMPLEX).any():
            return np.sqrt(x - 1 + 0j)
        return np.where(x == NAN, np.nan, 0.5 * x + u)

    return step


def hanging():
    time.sleep(60)


def never():
    def step(x, u, p):
        raise OSError("no display")

    return step
