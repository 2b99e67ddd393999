"""A simulation on a true plant as lines for a terminal: a table of the policies, and how far the model is off."""

import io
import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scpo_ctrl.assurance.simulation import SimulatedPolicy, Simulation
from scpo_ctrl.rounding import up

MOST_ROWS = 16  # of the table; the others are in simulation.json
_NARROWEST = 120  # characters of a line


def simulation_lines(simulation: Simulation, width: int) -> list[str]:
    """Return what a simulation has shown.

    Parameters
    ----------
    simulation : Simulation
    width : int
        Of the terminal, characters.

    Returns
    -------
    list of str
    """
    chosen = shown_policies(simulation.policies)
    left_out = len(simulation.policies) - len(chosen)
    note = [f"{left_out} more policies are in simulation.json"] if left_out else []
    which = "passed an audit" if simulation.audited else "were committed (no audits were made)"
    return [
        f"simulated on {simulation.true_plant}",
        f"{simulation.episodes} fresh episodes for each of {len(simulation.policies)} policies: the safe start, and "
        f"those that {which}",
        *_table(chosen, max(width, _NARROWEST)),
        *note,
        *_mismatch(simulation),
    ]


def shown_policies(policies: tuple[SimulatedPolicy, ...]) -> list[SimulatedPolicy]:
    """Return the first and the last policy, those with most violations, and others evenly spread, in their order.

    Parameters
    ----------
    policies : tuple of SimulatedPolicy

    Returns
    -------
    list of SimulatedPolicy
        At most `MOST_ROWS`.
    """
    count = len(policies)
    if count <= MOST_ROWS:
        return list(policies)
    worst = sorted(range(count), key=lambda i: (-policies[i].violations, -policies[i].worst))
    final = [i for i, policy in enumerate(policies) if policy.is_final]
    chosen = {0, count - 1, *final[:1], *worst[: MOST_ROWS // 4]}
    between = MOST_ROWS - len(chosen)
    chosen |= {(k + 1) * (count - 1) // (between + 1) for k in range(between)}  # evenly spread over the run
    return [policies[i] for i in sorted(chosen)]


def _table(policies: list[SimulatedPolicy], width: int) -> list[str]:
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("policy", no_wrap=True)
    for name in ("episodes", "violate", "command alone", "on model"):
        table.add_column(name, justify="right")
    table.add_column("closest metric", overflow="fold")
    table.add_column("kept or broken", overflow="fold")
    for name in ("objective", "on model"):
        table.add_column(name, justify="right", no_wrap=True)
    for policy in policies:
        cells = [
            _name(policy),
            str(policy.episodes),
            str(policy.violations),
            str(policy.command_alone),
            str(policy.violations_on_model),
            policy.closest,
            policy.room,
            _number(policy.objective),
            _number(policy.objective_on_model),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _name(policy: SimulatedPolicy) -> str:
    name = f"step {policy.step}" if policy.step else "safe start"
    return name + (" (final)" if policy.is_final else "") + (" (withdrawn later)" if policy.withdrawn else "")


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "lost"


def _mismatch(simulation: Simulation) -> list[str]:
    """Say how far the model is from the true plant."""
    of = simulation.mismatch
    if not of.count:
        return ["mismatch   no transition begins within the state bounds and has finite numbers: nothing to compare"]
    lines = [
        f"mismatch   of the model at nominal parameters, in {of.count} transitions that begin within the state bounds"
    ]
    rows = zip(simulation.x_labels, simulation.x_units, of.largest, of.rms, of.half_widths, of.exceeds, strict=True)
    for label, unit, largest, rms, half, exceeds in rows:
        declared = f", {'beyond' if exceeds else 'within'} the declared disturbance {half:g}" if half else ""
        lines.append(f"           {label}: largest error {up(largest)}, rms {rms:.3g}{declared} {unit}".rstrip())
    share = up(100 * of.uncovered / of.count)
    lines.append(
        f"           {share} % of the transitions ({of.uncovered}) are outside what the declared parameters and "
        "disturbances predict"
    )
    return lines
