"""The command that simulates a policy under the guard."""

from pathlib import Path

import click

from scpo_ctrl.assurance.certificate import MOST_SEED
from scpo_ctrl.proof.guarded import EPISODES, MOST_AHEAD, WITHIN, guard, guarded_runs
from scpo_ctrl.record.assurance import save_guarded
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.folder import GUARD_FILE
from scpo_ctrl.report.display import Rollouts
from scpo_ctrl.report.trajectories import plant_problem
from scpo_ctrl.terminal import as_json_option, failed, print_json, run_argument, say

_MOST = 10_000_000
within_option = click.option(
    "--within", type=click.Choice(WITHIN), default=WITHIN[0], show_default=True,
    help="The set that the guard keeps: the backup's level set, or its largest polytope, of a linear plant.",
)  # fmt: skip


@click.command("guard")
@run_argument
@click.option("--episodes", type=click.IntRange(1, _MOST), default=EPISODES, show_default=True, help="Fresh scenarios.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Of the episodes.")
@within_option
@click.option(
    "--lookahead", type=click.IntRange(0, MOST_AHEAD), default=0, show_default=True,
    help="Steps in which the backup is to bring the next state into its level set, of a plant without ranges.",
)  # fmt: skip
@as_json_option
def guard_command(run: Path, episodes: int, seed: int, within: str, lookahead: int, as_json: bool) -> int:
    """Simulate the final policy of RUN under the guard; write RUN/guard.json, which the report shows.

    The guard (E9) applies the policy's input where the model's next state stays in the backup's proved set, for all
    parameters and disturbances in range, and the backup's elsewhere.
    """
    result = load_result(run)
    problem = plant_problem(result)
    held = guard(problem, within, lookahead)
    with Rollouts("guard", quiet=as_json) as line:
        runs = guarded_runs(problem, result.theta, held, episodes=episodes, seed=seed, monitor=line.show)
    save_guarded(run, runs, result)
    if as_json:
        print_json(runs.summary())
    else:
        say(f"{run / GUARD_FILE}: {runs.sentence()}")
    return 0 if not runs.escapes else failed(f"{run / GUARD_FILE}: {runs.sentence()}", 1)
