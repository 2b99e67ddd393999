"""Commands that say how far beyond its scenarios, or its model, a policy can be trusted."""

import shutil
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from scpo_ctrl.assurance.certificate import certify, rollouts_needed
from scpo_ctrl.assurance.falsify import driven_on, falsify
from scpo_ctrl.assurance.simulate import simulate
from scpo_ctrl.assurance.true_plant import check_fit
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.progress import Line
from scpo_ctrl.proof.backup_set import declared_ranges, prove_in_time
from scpo_ctrl.proof.cover import cover
from scpo_ctrl.proof.polytope_set import backup_polytope
from scpo_ctrl.record.assurance import (
    save_backup_proof,
    save_certificate,
    save_falsified,
    save_polytope,
    save_simulation,
    spent_on_backup,
)
from scpo_ctrl.record.config import located
from scpo_ctrl.record.cover_file import cover_summary, save_cover, unfinished_cover
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.folder import (
    BACKUP_PROOF_FILE,
    CERTIFICATE_FILE,
    COVER_FILE,
    FALSIFIED_FILE,
    POLYTOPE_FILE,
    SIMULATION_FILE,
)
from scpo_ctrl.record.plant_file import read_plant
from scpo_ctrl.report.simulated import simulation_lines
from scpo_ctrl.report.trajectories import plant_problem
from scpo_ctrl.rounding import up
from scpo_ctrl.terminal import failed, print_json, say, warn
from scpo_ctrl.validate import as_scalar


def certify_run(run: Path, kind: str, seconds: float, boxes: int, as_json: bool, **given: Any) -> int:
    """Certify the final policy of a run, or what its backup keeps."""
    if kind == "backup":
        return _certify_backup(run, seconds, as_json=as_json)
    if kind == "polytope":
        return _certify_polytope(run, as_json=as_json)
    if kind == "cover":
        return _certify_cover(run, seconds, boxes, as_json=as_json)
    return _certify_by_scenarios(run, as_json=as_json, **given)


def _certify_by_scenarios(
    run: Path,
    epsilon: float,
    beta: float,
    seed: int | None,
    stop_early: bool,
    workers: int | None,
    scheduler: tuple[str, ...],
    *,
    as_json: bool,
) -> int:
    """Certify the final policy by fresh scenarios."""
    rollouts_needed(epsilon, beta)  # before the run is loaded, which takes seconds
    result = load_result(run)
    certificate = certify(
        plant_problem(result),
        result.theta,
        epsilon=epsilon,
        beta=beta,
        seed=seed,
        stop_early=stop_early,
        **_places(run, workers, scheduler),
        progress=not as_json,
    )
    save_certificate(run, certificate, result)
    if as_json:
        print_json(certificate.summary())
    else:
        say(f"{run / CERTIFICATE_FILE} (scenario): {certificate.sentence()}")
    if certificate.passed:
        return 0
    number, value = certificate.closest[0]
    return failed(
        f"{run}: not certified: {certificate.violations} of {certificate.rollouts} fresh scenarios violate; worst is "
        f"number {number}, {certificate.worst_metric}, by {up(value)} of half the width of its bounds; `scpo-ctrl "
        "falsify` writes such a scenario for `adapt --learn`",
        1,
    )


def _places(run: Path, workers: int | None, schedulers: tuple[str, ...]) -> dict[str, Any]:
    """Return what says where a policy is rolled out."""
    if not workers and not schedulers:
        return {}
    problems = partial(problem_of, run.resolve())
    if workers:
        return {"workers": workers, "problems": problems}
    from scpo_ctrl.campaign.anywhere import on_schedulers  # Dask need not be there

    waiting = lru_cache(lambda address: warn(f"{address}: has no workers yet; waiting for them"))
    return {"workers": on_schedulers(schedulers, waiting), "problems": problems}


def problem_of(run: Path) -> ControlProblem:
    """Return the problem of a run, as a worker makes it."""
    return plant_problem(load_result(run))


def _certify_cover(run: Path, seconds: float, boxes: int, *, as_json: bool) -> int:
    """Prove, or refute, that the final policy keeps every metric on the whole declared set."""
    as_scalar("--seconds", seconds, above=0.0)
    result = load_result(run)
    problem = plant_problem(result)
    tree, spent = unfinished_cover(run, problem, result)
    with Line("cover", 100, unit="% decided", shown=not as_json) as line:

        def monitor(decided: float, looked_at: int) -> None:
            line.show(int(100 * decided), fields=(f"{looked_at} boxes",))

        found = cover(problem, result.theta, seconds=seconds, boxes=boxes, tree=tree, spent=spent, monitor=monitor)
    save_cover(run, found, result)
    if as_json:
        print_json({key: value for key, value in cover_summary(found).items() if key != "letters"})
    elif found.proved:
        say(f"{run / COVER_FILE} (cover): {found.sentence()}")
    if found.proved:
        return 0
    if found.counterexample is None:
        return failed(f"{run}: {found.sentence()}; a second call goes on from here", 1)
    from scpo_ctrl.report.falsified import falsified_png  # matplotlib takes long to import

    attack = driven_on(problem, result.theta, found.counterexample, "by a cover")
    save_falsified(run, attack, result, problem.plant.p_labels, falsified_png(result, attack))
    return failed(f"{run}: {found.sentence()}; {run / FALSIFIED_FILE}: {attack.sentence()}", 1)


def _certify_backup(run: Path, seconds: float, *, as_json: bool) -> int:
    """Prove the backup's level set."""
    as_scalar("--seconds", seconds, above=0.0)
    result = load_result(run)
    problem = plant_problem(result)
    ranges, half = declared_ranges(problem)
    spent = spent_on_backup(run)
    proof, finished = prove_in_time(problem.policy, ranges, half, seconds=seconds, spent=spent)
    save_backup_proof(run, proof, problem, result)
    if as_json:
        print_json(proof.summary(problem.plant))
    elif proof.proved:
        say(f"{run / BACKUP_PROOF_FILE} (backup): {proof.sentence()}")
    on = "" if finished else "; time is up, and a second call goes on with more boxes"
    return 0 if proof.proved else failed(f"{run}: {proof.sentence()}{on}", 1)


def _certify_polytope(run: Path, *, as_json: bool) -> int:
    """Find and prove the largest polytope that the backup keeps."""
    result = load_result(run)
    problem = plant_problem(result)
    polytope = backup_polytope(problem)
    save_polytope(run, polytope, problem, result)
    if as_json:
        print_json(polytope.summary(problem.plant))
    else:
        say(f"{run / POLYTOPE_FILE} (polytope): {polytope.sentence()}")
    return 0


def falsify_run(
    run: Path, budget: int, seed: int, workers: int | None, scheduler: tuple[str, ...], as_json: bool
) -> int:
    """Search for a scenario that breaks the final policy of RUN; write RUN/falsified.toml and .png if one is found."""
    result = load_result(run)
    problem = plant_problem(result)
    places = _places(run, workers, scheduler)
    attack = falsify(problem, result.theta, budget=budget, seed=seed, **places, progress=not as_json)
    if attack.found:
        from scpo_ctrl.report.falsified import falsified_png  # matplotlib takes long to import

        save_falsified(run, attack, result, problem.plant.p_labels, falsified_png(result, attack))
    if as_json:
        print_json(
            {"found": attack.found, "rollouts": attack.rollouts, "worst": attack.worst, "metric": attack.metric}
            | {"by": attack.excess, "unit": attack.unit, "means": attack.means}
            | ({"scenario": str(run / FALSIFIED_FILE)} if attack.found else {})
        )
    elif not attack.found:
        say(f"{run}: {attack.sentence()}")
    return failed(f"{run / FALSIFIED_FILE}: {attack.sentence()}", 1) if attack.found else 0


def simulate_run(
    run: Path, values: dict[str, float], plant: Path | None, trust: bool, episodes: int, seed: int, as_json: bool
) -> int:
    """Simulate the policies of RUN on a plant that differs from its model; write RUN/simulation.json and .png."""
    true = None if plant is None else read_plant(plant, trust=trust)
    result = load_result(run)
    if plant is not None and true is not None:
        with located(f"{plant}: [plant] "):
            check_fit(plant_problem(result), true)
    simulation = simulate(result, true, values, episodes, seed, progress=not as_json)
    from scpo_ctrl.report.simulated_figure import simulation_png  # matplotlib takes long to import

    save_simulation(run, simulation, result, simulation_png(result, simulation, true))
    if as_json:
        print_json(simulation.summary())
    else:
        for text in simulation_lines(simulation, shutil.get_terminal_size((160, 24)).columns):
            say(text)
    return 0 if simulation.passed else failed(f"{run / SIMULATION_FILE}: {simulation.sentence()}", 1)
