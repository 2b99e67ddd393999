"""Commands that say how far beyond its scenarios a policy can be trusted: certify and falsify."""

from pathlib import Path

import click

from scpo_ctrl.assurance.certificate import BETA, EPSILON, MOST_SEED, certify, rollouts_needed
from scpo_ctrl.assurance.falsify import BUDGET, falsify
from scpo_ctrl.record.assurance import save_certificate, save_falsified
from scpo_ctrl.record.files import load_result
from scpo_ctrl.record.folder import CERTIFICATE_FILE, FALSIFIED_FILE
from scpo_ctrl.report.display import Rollouts
from scpo_ctrl.report.trajectories import plant_problem
from scpo_ctrl.rounding import up
from scpo_ctrl.terminal import as_json_option, failed, print_json, run_argument, say


@click.command("certify")
@run_argument
@click.option("--kind", type=click.Choice(["scenario"]), required=True, help="What to certify by: fresh scenarios.")
@click.option("--epsilon", type=float, default=EPSILON, show_default=True, help="Part of scenarios that may violate.")
@click.option("--beta", type=float, default=BETA, show_default=True, help="1 - confidence.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), help="Of the scenarios; by default from policy and problem.")
@as_json_option
def certify_command(run: Path, kind: str, epsilon: float, beta: float, seed: int | None, as_json: bool) -> int:
    """Roll the final policy of RUN out over fresh scenarios, as many as ε and β need; write RUN/certificate.json."""
    rollouts_needed(epsilon, beta)  # before the run is loaded, which takes seconds
    result = load_result(run)
    problem = plant_problem(result)
    with Rollouts("certify", quiet=as_json) as line:
        certificate = certify(problem, result.theta, epsilon=epsilon, beta=beta, seed=seed, monitor=line.show)
    save_certificate(run, certificate, result)
    if as_json:
        print_json(certificate.summary())
    else:
        say(f"{run / CERTIFICATE_FILE} ({kind}): {certificate.sentence()}")
    if certificate.passed:
        return 0
    number, value = certificate.closest[0]
    return failed(
        f"{run}: not certified: {certificate.violations} of {certificate.rollouts} fresh scenarios violate; worst is "
        f"number {number}, {certificate.worst_metric}, by {up(value)} of half the width of its bounds; `scpo-ctrl "
        "falsify` writes such a scenario for `adapt --learn`",
        1,
    )


@click.command("falsify")
@run_argument
@click.option("--budget", type=click.IntRange(1), default=BUDGET, show_default=True, help="Rollouts to spend.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the search.")
@as_json_option
def falsify_command(run: Path, budget: int, seed: int, as_json: bool) -> int:
    """Search for a scenario that breaks the final policy of RUN; write RUN/falsified.toml and .png if one is found."""
    result = load_result(run)
    problem = plant_problem(result)
    with Rollouts("falsify", quiet=as_json) as line:
        attack = falsify(problem, result.theta, budget=budget, seed=seed, monitor=line.show)
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
