"""The report on a run's progress: how close to an optimum it ended, by which method, and what held it back."""

import dataclasses

import numpy as np
from plain import AdaptOptions
from problems import double_integrator_problem
from report_runs import bounds_drawn, run, trial, user_problem, with_history

from scpo_ctrl.adaptation.binding import rooms
from scpo_ctrl.adaptation.display import Display
from scpo_ctrl.adaptation.history import History
from scpo_ctrl.adaptation.state import start
from scpo_ctrl.adaptation.status import RunStatus, Verdict
from scpo_ctrl.report import wording
from scpo_ctrl.report.history_figures import convergence_figure, smoothness_figure
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.wording import headline


def test_headline_says_how_close_to_an_optimum_the_run_ended(plain, monkeypatch):
    monkeypatch.setattr(wording, "beyond", lambda _: None)
    some = dataclasses.replace(plain, objective_initial=2.0, objective_final=-4.0, stationarity=3.14159e-7)
    converged = headline(dataclasses.replace(some, status=RunStatus.CONVERGED), 0.1)
    assert converged.word == "Safe on its scenarios, converged, not audited"
    narrow = "\u202f×\u202f"
    assert converged.sentence.endswith(
        f". Converged: the objective can fall by at most about 1.3{narrow}10⁻⁶ to first order "
        f"(stationarity 3.1{narrow}10⁻⁷)."
    )
    size, narrower = plain.theta.size, " along the directions sampled"
    for method, directions, where in (("gradient", 3, narrower), ("gradient", size, ""), ("newton", 3, "")):
        options = dataclasses.replace(some.options, method=method, directions=directions)
        part = headline(dataclasses.replace(some, status=RunStatus.CONVERGED, options=options), 0.1)
        assert f" to first order{where} (stationarity" in part.sentence
    finished = headline(dataclasses.replace(some, status=RunStatus.FINISHED, stationarity=0.0123), 0.1)
    assert finished.sentence.endswith(f". Finished with stationarity 0.012, where 1{narrow}10⁻⁶ counts as converged.")
    stalled = headline(dataclasses.replace(some, status=RunStatus.STALLED, stationarity=0.0123), 0.1)
    assert stalled.word == "Safe on its scenarios, stalled, not audited"
    assert ". Stalled with stationarity 0.012" in stalled.sentence
    stopped = headline(dataclasses.replace(some, status=RunStatus.INTERRUPTED, stationarity=0.0123), 0.1)
    assert ". Stopped with stationarity 0.012" in stopped.sentence
    unsafe = headline(dataclasses.replace(some, status=RunStatus.CONVERGED), -0.1)
    assert "onverged" not in unsafe.word + unsafe.sentence


def test_stationarity_stands_where_the_parameters_it_belongs_to_were_reached(plain):
    rows = [(Verdict.COMMITTED, 0.5, 0.1, 0.1, value) for value in (0.3, 0.02, 0.0)]
    held = with_history(plain, *rows, steps=3)
    line, tolerance = convergence_figure(held).axes[2].lines
    assert line.get_xdata().tolist() == [0, 1, 2]
    low = convergence_figure(held).axes[2].get_ylim()[0]
    assert line.get_ydata().tolist() == [0.3, 0.02, low]  # zero stands at the edge of a logarithmic axis
    assert tolerance.get_ydata()[0] == plain.options.tolerance
    ended = with_history(plain, *rows, steps=4, stationarity=1e-7)  # the last step had nothing to try
    line = convergence_figure(ended).axes[2].lines[0]
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (3, 1e-7)
    assert convergence_figure(ended).axes[2].get_yscale() == "log"


def test_method_gradients_and_probes_are_named(plain, page):
    assert plain.options.method == "newton"
    for name, value in (("method", "newton"), ("gradients", "exact"), ("probes", "2"), ("preconditioner", "none")):
        assert f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' in page
    assert "The objective alone may rise" in page
    chosen = {"method": "gradient", "gradients": "sampled", "preconditioner": (4.0, 1.0)}
    other = run(double_integrator_problem(()), **chosen, steps=1)
    page = render_report(other, pictures=False)
    for name, value in (("method", "gradient"), ("gradients", "sampled"), ("preconditioner", "diagonal of 2")):
        changed = "" if name == "method" else ' class="changed"'  # with a preconditioner "auto" is the gradient too
        assert f'<tr{changed}><th scope="row">{name}</th><td>{value}</td></tr>' in page
    assert "The objective alone may rise" not in page
    assert "in the norm of the preconditioner" in page


def test_the_radius_is_drawn_only_where_lengths_are_in_its_norm(plain):
    for method, drawn in (("newton", False), ("gradient", True)):
        result = dataclasses.replace(plain, options=dataclasses.replace(plain.options, method=method))
        assert bounds_drawn(smoothness_figure(result).axes[2]) == ([1.0] if drawn else [])


def test_smoothness_figure_draws_what_the_history_holds(plain):
    left, middle, right = smoothness_figure(plain).axes
    column = plain.history.column
    assert left.lines[0].get_ydata().tolist() == column("active").tolist()
    assert middle.lines[0].get_ydata().tolist() == column("smoothness_max").tolist()
    assert middle.lines[1].get_ydata().tolist() == column("smoothness_median").tolist()
    assert right.lines[0].get_ydata().tolist() == column("delta_norm").tolist()


def test_the_line_of_a_run_counts_what_became_of_every_try(capfd):
    options = AdaptOptions(steps=10)
    state, display = start(double_integrator_problem(), options), Display(10)

    def shown(*verdicts) -> str:
        state.history = History(
            state.theta.size, [trial(state.theta, i, of, 1.0, 0.1) for i, of in enumerate(verdicts)]
        )
        state.step += 1
        display.show(state)
        return capfd.readouterr().err

    first = (Verdict.COMMITTED, Verdict.UNSAFE, Verdict.COMMITTED)
    assert "accepted 2 of 3  " in shown(*first)
    assert "accepted 3 of 4  " in shown(*first, Verdict.COMMITTED)
    state.audits.append(None)  # one that took commits back
    withdrawn = (Verdict.COMMITTED, Verdict.UNSAFE, Verdict.WITHDRAWN, Verdict.WITHDRAWN)
    assert "accepted 1 of 4, withdrawn 2  " in shown(*withdrawn)


def test_the_line_of_a_run_shows_margins_rounded_down_and_in_percent_of_their_room(capfd):
    state = start(double_integrator_problem(), AdaptOptions(steps=10))
    state.step = 1
    for part, said in ((0.5, "margin 50 %"), (0.01999, "margin 1.9 %"), (-1.05e-9, "margin -1.1e-07 %")):
        rooms_in_units = rooms(state.problem) / state.problem.metric_units
        state.g = np.where(state.problem.varies, -np.where(np.isfinite(rooms_in_units), rooms_in_units, 1.0), 0.0)
        state.g[np.flatnonzero(state.problem.varies)[3]] *= part
        Display(10).show(state)
        assert f"{said}  accepted" in capfd.readouterr().err
    users = start(user_problem(), AdaptOptions(steps=10))
    users.step = 1
    Display(10).show(users)
    assert "margin 0.5  accepted" in capfd.readouterr().err  # in its own unit
