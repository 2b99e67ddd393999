"""The command that simulates a policy under the guard."""

from pathlib import Path

from scpo_ctrl.progress import following
from scpo_ctrl.proof.guarded import guard, guarded_runs
from scpo_ctrl.record.assurance import save_guarded
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.folder import GUARD_FILE
from scpo_ctrl.report.trajectories import plant_problem
from scpo_ctrl.terminal import failed, print_json, say


def guard_run(run: Path, episodes: int, seed: int, within: str, lookahead: int, as_json: bool) -> int:
    """Simulate the final policy of a run under the guard."""
    result = load_result(run)
    problem = plant_problem(result)
    held = guard(problem, within, lookahead)
    with following("guard", "episodes", not as_json, None) as monitor:
        runs = guarded_runs(problem, result.theta, held, episodes=episodes, seed=seed, monitor=monitor)
    save_guarded(run, runs, result)
    if as_json:
        print_json(runs.summary())
    else:
        say(f"{run / GUARD_FILE}: {runs.sentence()}")
    return 0 if not runs.escapes else failed(f"{run / GUARD_FILE}: {runs.sentence()}", 1)
