"""What binds at the final policy, recomputed by `verify`: what a save writes passes, and nothing that was edited."""

from __future__ import annotations

import copy
import json
import tomllib

import numpy as np
import pytest
from problem_files import KINDS
from run_folders import edit_summary, faults, make_run

from scpo_ctrl import verify
from scpo_ctrl.adaptation.binding import CLOSEST, binding_summary
from scpo_ctrl.record.files import load_arrays, load_result, read_problem
from scpo_ctrl.verification.binding import binding_faults
from scpo_ctrl.verification.loop import ClosedLoop
from scpo_ctrl.verification.one_step import cloud_bounds, cloud_loop
from scpo_ctrl.verification.verify import law_of

MIRRORED = [[3.5, 0.0], [-3.5, 0.0], [3.5, 0.0], [0.1, 0.0]]  # what is closest is so in two or three scenarios
ACCOUNT = {
    "scenarios": {"horizon": 30, "initial_states": MIRRORED},
    "metrics": {"terminal": True, "contraction": 0.95},
    "adapt.steps": 30,
}


def loops(run):
    """Return the closed loops of the verification, over the scenarios of a run and its cloud."""
    tables, arrays = tomllib.loads(read_problem(run)[0]), load_arrays(run)
    law = law_of(tables, run)
    return ClosedLoop(law, tables, arrays), cloud_loop(law, tables, arrays)


@pytest.mark.table(6)
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_record_at_any_policy(runs, kind):
    problem, (loop, cloud) = load_result(runs[kind]).problem, loops(runs[kind])
    rng = np.random.default_rng(1)
    for spread in [0.0, *np.geomspace(1e-3, 1.0, 12)]:
        theta = problem.theta_initial + spread * rng.normal(size=problem.theta_dim)
        g = problem.metrics(theta)
        if g.max() > 1e3:  # a loop that runs away, which none that is committed does: last bits grow with it
            assert spread > 0.01
            continue
        summary = json.loads(json.dumps(binding_summary(problem, g, g)))
        for of in (loop, cloud):
            if of is not None:
                of.margins(theta[None])
        bounds = [] if cloud is None else cloud_bounds(cloud)
        assert binding_faults(loop, bounds, summary) == []
        farther = copy.deepcopy(summary)
        farther["closest"][0]["margin"] += 1e-6 * max(loop.sizes("level").max(), loop.sizes("state").max())
        assert "binding closest[0]" in "; ".join(binding_faults(loop, bounds, farther))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("mirrored"), ACCOUNT)


def test_equally_close_metrics_may_come_in_any_order(mirrored):
    assert verify(mirrored).faults == ()
    whole = (mirrored / "result.json").read_bytes()
    account = json.loads(whole)["binding"]
    assert len(account["closest"]) == CLOSEST
    margins = [row["margin"] for row in account["closest"]]
    equal = [i for i in range(CLOSEST - 1) if abs(margins[i] - margins[i + 1]) < 1e-13]
    assert equal
    for i in range(CLOSEST - 1):
        swapped = copy.deepcopy(account)
        swapped["closest"][i : i + 2] = swapped["closest"][i : i + 2][::-1]
        edit_summary(mirrored, binding=swapped)
        said = "; ".join(verify(mirrored).faults)
        assert said == "" if i in equal else f"binding closest[{i}]" in said
        (mirrored / "result.json").write_bytes(whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.update(within=0.02), "binding within = 0.02, the rollouts say 0.01"),
        (lambda b: b["metrics"].update(state=b["metrics"]["state"] + 1), "binding metrics = "),
        (lambda b: b["metrics"].pop("command"), "binding metrics = "),
        (lambda b: b["metrics"].update(extra=0), "binding metrics = "),
        (lambda b: b.update(scenarios=b["scenarios"] + 1), "binding scenarios = "),
        (lambda b: b.update(scenarios=0, scenarios_never=[[0, 3]]), "binding scenarios_never = [[0, 3]], the"),
        (lambda b: b.update(scenarios=4, scenarios_never=[]), "binding scenarios_never = [], the"),
        (lambda b: b["closest"].pop(0), "binding closest["),  # the next one may be as close
        (lambda b: b["closest"].pop(), "binding closest = '9 rows', the rollouts say 'there are more'"),
        (lambda b: b["closest"].append(b["closest"][-1]), "binding closest = '11 rows', the rollouts say '10 rows'"),
        (lambda b: b["closest"].__setitem__(2, b["closest"][0]), "binding closest[2] = "),
        (lambda b: b["closest"][4].update(margin=b["closest"][4]["margin"] + 1e-6), "binding closest[4] = "),
        (lambda b: b["closest"][1].update(scenario=3), "binding closest[1] = "),
        (lambda b: b["closest"][1].update(scenario=-1), "binding closest[1] = "),
        (lambda b: b["closest"][1].update(scenario=99), "binding closest[1] = "),
        (lambda b: b["closest"][0].update(bound="position <= 9 m"), "binding closest[0] = "),
        (lambda b: b["closest"][0].update(time=[0, 29]), "binding closest[0] = "),
        (lambda b: b["closest"][0].update(note="kept its distance"), "binding closest[0] = "),
        (lambda b: b["closest"][0].update(margin=None), "which is not what a save writes"),
        (lambda b: b["closest"][0].pop("time"), "which is not what a save writes"),
        (lambda b: b.update(closest=7), "which is not what a save writes"),
        (lambda b: b.update(scenarios_never=[5]), "which is not what a save writes"),
        (lambda b: b.pop("metrics"), "which is not what a save writes"),
        (lambda b: b.update(note="all is well"), "which is not what a save writes"),
    ],
)
def test_an_edited_account_is_a_fault(mirrored, run, change, said):
    whole = (mirrored / "result.json").read_bytes()
    account = json.loads(whole)["binding"]
    assert account["scenarios_never"] and account["scenarios"]
    change(account)
    edit_summary(mirrored, binding=account)
    try:
        assert said in faults(mirrored)
        outcome = run("verify", mirrored)
        assert outcome.status == 1
        assert said in outcome.err and outcome.err.count("\n") == 1
    finally:
        (mirrored / "result.json").write_bytes(whole)


@pytest.mark.parametrize("account", [None, [], {}, "nothing binds"])
def test_no_account_is_a_fault(copy_of, account):
    run = copy_of()
    edit_summary(run, binding=account)
    assert "which is not what a save writes" in faults(run)
    summary = json.loads((run / "result.json").read_text())
    del summary["binding"]
    (run / "result.json").write_text(json.dumps(summary))
    assert "binding = None" in faults(run)
