"""What the commands that say how far a policy can be trusted take."""

from typing import Any

import click
from click.core import ParameterSource

from scpo_ctrl.choices import (
    BETA,
    BOXES,
    BUDGET,
    EPISODES,
    EPSILON,
    GUARDED_EPISODES,
    MOST_AHEAD,
    MOST_EPISODES,
    MOST_SEED,
    MOST_WORKERS,
    SECONDS,
    WITHIN,
)
from scpo_ctrl.errors import DomainError
from scpo_ctrl.usage.given import FILE, Command, Words, as_json_option, exclude_each_other, work, written_run_argument

_MOST = 10_000_000
_OF_SCENARIOS = ("epsilon", "beta", "seed", "workers", "scheduler", "stop_early")
within_option = click.option(
    "--within", type=Words(WITHIN), default=WITHIN[0], show_default=True,
    help="The set that the guard keeps: the backup's level set, or its largest polytope, of a linear plant.",
)  # fmt: skip

workers_option = click.option(
    "--workers", type=click.IntRange(1, MOST_WORKERS), help="Processes that roll out; by default this one."
)
scheduler_option = click.option(
    "--scheduler", metavar="ADDRESS", multiple=True,
    help="Dask scheduler whose workers roll out, such as tcp://HOST:8786; several for several clusters.",
)  # fmt: skip


@click.command("certify", cls=Command)
@written_run_argument
@click.option(
    "--kind",
    type=Words(["scenario", "backup", "polytope", "cover"]),
    required=True,
    help="What to certify by or of.",
)
@click.option("--epsilon", type=float, default=EPSILON, show_default=True, help="Part of scenarios that may violate.")
@click.option("--beta", type=float, default=BETA, show_default=True, help="1 - confidence.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), help="Of the scenarios; by default from policy and problem.")
@workers_option
@scheduler_option
@click.option("--stop-early", is_flag=True, help="Stop at the first violation: the policy does not pass.")
@click.option("--seconds", type=float, default=SECONDS, show_default=True, help="Of a proof: when to stop.")
@click.option("--boxes", type=click.IntRange(1), default=BOXES, show_default=True, help="Of a cover: where to stop.")
@as_json_option
def certify_command(kind: str, **given: Any) -> int:
    """Certify RUN's final policy by fresh scenarios or by a cover of the declared set, or prove its backup's level set.

    "scenario" rolls the final policy out, as often as ε and β need, and writes RUN/certificate.json. "backup" proves
    that the backup keeps its level set, for all parameters and disturbances in range: RUN/backup_proof.json. "polytope"
    finds the largest polytope that it keeps, of a linear plant, and proves it: RUN/polytope_proof.json. "cover" proves
    that the final policy keeps every metric from all of the declared set, and writes RUN/cover_proof.json, and
    RUN/falsified.toml if a point violates. "backup" and "cover" go on where an earlier call stopped.
    """
    _check_options(kind)
    exclude_each_other(workers=given["workers"], scheduler=given["scheduler"])
    return work("assurance:certify_run", {"kind": kind, **given})


def _check_options(kind: str) -> None:
    """Refuse options of other kinds."""
    context = click.get_current_context()
    kinds = dict.fromkeys(_OF_SCENARIOS, ("scenario",)) | {"seconds": ("backup", "cover")}
    for name, of in (kinds | {"boxes": ("cover",)}).items():
        if kind not in of and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = name.replace("_", "-")
            raise DomainError(f"--{option} is of --kind {' and '.join(of)}, and --kind {kind} has none; leave it out")


@click.command("falsify", cls=Command)
@written_run_argument
@click.option("--budget", type=click.IntRange(1), default=BUDGET, show_default=True, help="Rollouts to spend.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the search.")
@workers_option
@scheduler_option
@as_json_option
def falsify_command(**given: Any) -> int:
    """Search for a scenario that breaks the final policy of RUN; write RUN/falsified.toml and .png if one is found."""
    exclude_each_other(workers=given["workers"], scheduler=given["scheduler"])
    return work("assurance:falsify_run", given)


@click.command("simulate", cls=Command)
@written_run_argument
@click.option("--set", "given", metavar="LABEL=VALUE", multiple=True, help="A parameter of the true plant.")
@click.option("--plant", type=FILE, help="File whose section [plant] is the true plant; the model by default.")
@click.option("--trust", is_flag=True, help="Run the Python that that file names.")
@click.option(
    "--episodes", type=click.IntRange(1, MOST_EPISODES), default=EPISODES, show_default=True, help="Of each policy."
)
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Of the episodes.")
@as_json_option
def simulate_command(given: tuple[str, ...], **more: Any) -> int:
    """Simulate the policies of RUN on a plant that differs from its model; write RUN/simulation.json and .png."""
    if more["trust"] and more["plant"] is None:
        raise click.UsageError("--trust goes with --plant", click.get_current_context())
    return work("assurance:simulate_run", {"values": _values(given), **more})


def _values(given: tuple[str, ...]) -> dict[str, float]:
    """Return the parameters that --set gives, by label."""
    values: dict[str, float] = {}
    for text in given:
        label, equals, value = text.rpartition("=")
        label = label.strip()
        try:
            number = float(value)
        except ValueError:
            number = None
        if not equals or not label or number is None:
            raise click.UsageError(
                f"--set {text}: expected LABEL=NUMBER, such as mass=1.25", click.get_current_context()
            )
        if label in values:
            raise click.UsageError(f"--set gives {label} twice", click.get_current_context())
        values[label] = number
    return values


@click.command("guard", cls=Command)
@written_run_argument
@click.option(
    "--episodes", type=click.IntRange(1, _MOST), default=GUARDED_EPISODES, show_default=True, help="Fresh scenarios."
)
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Of the episodes.")
@within_option
@click.option(
    "--lookahead", type=click.IntRange(0, MOST_AHEAD), default=0, show_default=True,
    help="Steps in which the backup is to bring the next state into its level set, of a plant without ranges.",
)  # fmt: skip
@as_json_option
def guard_command(**given: Any) -> int:
    """Simulate the final policy of RUN under the guard; write RUN/guard.json, which the report shows.

    The guard (E9) applies the policy's input where the model's next state stays in the backup's proved set, for all
    parameters and disturbances in range, and the backup's elsewhere.
    """
    return work("guard:guard_run", given)
