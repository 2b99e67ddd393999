"""Ctrl-C while `adapt` runs in somebody's Python."""

import signal
import threading

import pytest
from problems import double_integrator_problem

import scpo_ctrl as sc
from scpo_ctrl.adaptation.adapt import adapt


def interrupting(step, times=1):
    """Return a monitor that raises SIGINT after a step, some times."""

    def monitor(state):
        if state.step == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return False

    return monitor


OPTIONS = sc.AdaptOptions(steps=6, audit_rollouts=200, guards=4)


def test_the_result_so_far_is_returned_and_goes_on_to_the_same_bits():
    problem = double_integrator_problem()
    whole = adapt(problem, OPTIONS)
    part = adapt(problem, OPTIONS, monitor=interrupting(3))
    assert part.status is sc.RunStatus.INTERRUPTED and part.steps == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert adapt(problem, OPTIONS, resume_from=part).theta.tobytes() == whole.theta.tobytes()


def test_an_audit_is_left_too():
    def monitor(done, every):
        signal.raise_signal(signal.SIGINT)
        return False

    part = adapt(double_integrator_problem(), OPTIONS, audit_monitor=monitor)
    assert part.status is sc.RunStatus.INTERRUPTED and part.is_safe()


def test_the_second_one_ends_it_at_once():
    with pytest.raises(KeyboardInterrupt):
        adapt(double_integrator_problem(), OPTIONS, monitor=interrupting(2, times=2))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_keeps_its_signal():
    came = []
    earlier = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        assert adapt(double_integrator_problem(), OPTIONS, monitor=interrupting(2)).steps == 6
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert came == [signal.SIGINT]


def test_another_thread_answers_no_signal():
    found = []
    thread = threading.Thread(target=lambda: found.append(adapt(double_integrator_problem(), OPTIONS).steps))
    thread.start()
    thread.join()
    assert found == [6]
