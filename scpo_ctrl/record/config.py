"""Problem files: TOML in, validated once, and out again with every default filled in."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from scpo_ctrl.adaptation.options import AdaptOptions
from scpo_ctrl.adaptation.scaling import Scaling
from scpo_ctrl.adaptation.state import resolved
from scpo_ctrl.errors import DomainError, ProblemFileError, ScpoError
from scpo_ctrl.loop.backup import Backup
from scpo_ctrl.loop.controlled import ControllerPolicy, LoopPolicy
from scpo_ctrl.loop.level import Ranges, parameter_ranges
from scpo_ctrl.loop.policy import Policy, layer_widths
from scpo_ctrl.loop.scenario import NEIGHBOURHOOD, Scenarios, scenarios
from scpo_ctrl.loop.sizes import check_rollouts
from scpo_ctrl.messages import shown
from scpo_ctrl.models import Plant
from scpo_ctrl.problem.control_problem import ControlProblem
from scpo_ctrl.problem.learned import LEARNED_FILE, LearnedScenarios, join_learned
from scpo_ctrl.problem.objective import Imitation
from scpo_ctrl.projection import native
from scpo_ctrl.record.backups import build_backup
from scpo_ctrl.record.controllers import CONTROLLERS, build_loop
from scpo_ctrl.record.metrics import build_metrics
from scpo_ctrl.record.objectives import build_objective
from scpo_ctrl.record.plants import build_plant, constants_of
from scpo_ctrl.record.recorded import RecordedConstraints, RecordedController, RecordedCost, RecordedPlant
from scpo_ctrl.record.tables import Table, check_keys, is_file_name, kind_of, read_tables
from scpo_ctrl.validate import as_array, as_path

REQUIRED = ("plant", "backup", "policy", "objective", "scenarios")
IMITATION_FILE = "imitation.csv"  # its name in a RUN folder
SECTIONS = (*REQUIRED, "metrics", "adapt")
RESIDUALS = ("linear", "mlp")  # kinds of policies; the others are controllers, which are their own backup
DRAWN_KEYS = ("count", "level", "seed", "initial_states", "parameters", "disturbance", "disturbance_fixed")
DECLARED_KEYS = ("neighbourhood", "box", "draw")
LEARNED_KEYS = ("learned", "learned_sha256")


@dataclass(frozen=True)
class ProblemFile:
    """A problem file as run."""

    problem: ControlProblem
    options: AdaptOptions
    tables: dict[str, Table]  # every section, every default filled in
    imitation: Imitation | None  # the data behind [objective] csv
    learned: LearnedScenarios | None = None  # the file behind [scenarios] learned
    plant: RecordedPlant | None = None  # the file behind [plant] file
    controller: RecordedController | None = None  # the file behind [policy] file
    constraints: RecordedConstraints | None = None  # the file behind [metrics] constraints
    cost: RecordedCost | None = None  # the file behind [objective] file
    chooses_gradients: bool = True  # False where they are "auto"

    def with_gradients(self, chosen: str) -> "ProblemFile":
        """Return the same with gradients that were chosen earlier, where the file leaves the choice to the package.

        Parameters
        ----------
        chosen : str
            "exact" or "sampled".

        Returns
        -------
        ProblemFile
        """
        if self.chooses_gradients:
            return self
        options = dataclasses.replace(self.options, gradients=chosen)
        return dataclasses.replace(self, options=options, tables=self.tables | {"adapt": filled(options)})

    def recorded(self) -> dict[str, bytes]:
        """Return what lies beside the problem as data in place of Python or objects, by the name of the file.

        Returns
        -------
        dict of str to bytes
        """
        files = (self.plant, self.controller, self.constraints, self.cost)
        return {file.FILE: file.data for file in files if file is not None}

    def text(self) -> str:
        """Return the problem as TOML, every default filled in; data goes beside it, as imitation.csv and so on.

        Returns
        -------
        str
        """
        tables = {name: dict(table) for name, table in self.tables.items()}
        if self.imitation:
            tables["objective"]["csv"] = IMITATION_FILE
        if self.learned:
            tables["scenarios"] |= {"learned": LEARNED_FILE, "learned_sha256": self.learned.sha256}
        return tomli_w.dumps(tables)


def load_problem(path: str | Path) -> ControlProblem:
    """Read a problem file.

    Parameters
    ----------
    path : str or pathlib.Path
        A TOML file; its sections and keys are listed in docs/problem-file.md. Python that [plant] or [policy] names is
        run.

    Returns
    -------
    ControlProblem

    Raises
    ------
    ProblemFileError
        If the file cannot be read, is not TOML, or has an unknown, missing or wrong key.
    ScpoError
        Another member of the family where a value is in its place but wrong; the message names file and section.

    Examples
    --------
    >>> from importlib.resources import files
    >>> import scpo_ctrl as sc
    >>> problem = sc.load_problem(str(files("scpo_ctrl") / "data" / "double_integrator.toml"))
    >>> problem.theta_dim, problem.scenarios.count
    (48, 32)
    """
    return read_problem_file(path, trust=True).problem


def read_problem_file(
    path: str | Path,
    *,
    steps: int | None = None,
    seed: int | None = None,
    trust: bool = False,
    tables: dict[str, Any] | None = None,
) -> ProblemFile:
    """Read a problem file with its options.

    Parameters
    ----------
    path : str or pathlib.Path
    steps, seed : int, optional
        Override those of section [adapt].
    trust : bool
        Whether Python that [plant] or [policy] names is run.
    tables : dict, optional
        What the file says, where it is not to be read: the path is the place that other files are beside.

    Returns
    -------
    ProblemFile

    Raises
    ------
    ProblemFileError, ScpoError
        As in `load_problem`.
    """
    path = as_path("path", path)
    tables = _sections(path, read_tables(path) if tables is None else tables)
    plant, recorded = within(path, "plant", lambda: build_plant(tables["plant"], path.parent, trust=trust))
    ranges = within(path, "scenarios", lambda: _ranges(plant, tables["scenarios"]))
    policy, controller = _loop(path, plant, tables, ranges, trust=trust)
    batch, learned = within(path, "scenarios", lambda: _scenarios(path.parent, policy, tables["scenarios"]))
    if tables["adapt"].get("mode") == "certified":  # which has no bound for it
        tables["metrics"].setdefault("stability", False)
    given = policy, path.parent, constants_of(tables["plant"])
    metrics, constraints = within(path, "metrics", lambda: build_metrics(tables["metrics"], *given))
    objective, cost = within(path, "objective", lambda: build_objective(tables["objective"], *given))
    overrides = {key: value for key, value in (("steps", steps), ("seed", seed)) if value is not None}
    options = within(path, "adapt", lambda: _options({**tables["adapt"], **overrides}))
    if options.solver == "DUAL" and not native.available():  # the record names what runs
        options = dataclasses.replace(options, solver="CLARABEL")
    if options.solver != "DUAL":  # now, not at the first step that is held back
        from scpo_ctrl.projection.conic import require

        with located(f"{path}: [adapt] "):
            require(options.solver)
    with located(f"{path}: "):
        problem = ControlProblem(policy, batch, objective, metrics, seed=options.seed)
    if learned:
        problem.theta_initial = learned.theta_initial
    chosen = within(path, "adapt", lambda: resolved(problem, options))
    if chosen.preconditioner is not None:
        within(path, "adapt", lambda: Scaling.from_preconditioner(chosen.preconditioner, problem.theta_dim))
    tables["adapt"] = filled(chosen)
    problem.tables = tables
    more = (learned, recorded, controller, constraints, cost, options.gradients != "auto")
    return ProblemFile(problem, chosen, tables, problem.imitation, *more)


def fill_in_scenarios(table: Table) -> None:
    """Fill in what section [scenarios] leaves out.

    Parameters
    ----------
    table : dict
        The section.
    """
    if "count" in table and "box" not in table:
        table.setdefault("level", 0.8)
    if "initial_states" in table and not {"level", "box"} & set(table):
        table.setdefault("neighbourhood", NEIGHBOURHOOD)
    table.setdefault("draw", "random")
    table.setdefault("seed", 0)


def described_scenarios(policy: LoopPolicy, table: Table) -> Scenarios:
    """Return the scenarios that section [scenarios] describes, without those that it names as learned.

    Parameters
    ----------
    policy : Policy or ControllerPolicy
        Whose plant and backup they are for.
    table : dict
        The section.

    Returns
    -------
    Scenarios

    Raises
    ------
    ScpoError
        If a value is wrong.
    """
    drawn = {key: value for key, value in table.items() if key not in LEARNED_KEYS}
    return scenarios(policy.plant, policy.backup, **drawn)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Prefix every error of the family with where it happened.

    Parameters
    ----------
    where : str
    """
    try:
        yield
    except ScpoError as error:
        raise type(error)(f"{where}{error}") from error


def within(path: Path, section: str, build: Callable[[], Any]) -> Any:
    """Return what a section makes; every error says where it happened.

    Parameters
    ----------
    path : pathlib.Path
        Of the file.
    section : str
    build : callable
        Makes it.

    Returns
    -------
    object

    Raises
    ------
    ScpoError
        If it cannot be made.
    """
    with located(f"{path}: [{section}] "):
        try:
            return build()
        except ScpoError:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ProblemFileError(f"has a value of the wrong kind: {error}") from error


def _sections(path: Path, tables: dict[str, Any]) -> dict[str, Table]:
    unknown = sorted(set(tables) - set(SECTIONS))
    if unknown:
        raise ProblemFileError(f"{path}: unknown section or key {shown(unknown[0])}; known: {', '.join(SECTIONS)}")
    alone = is_controller(tables)
    if alone and "backup" in tables:
        raise ProblemFileError(f"{path}: [backup] the controller as it runs today is the backup; leave the section out")
    required, known = ([name for name in of if name != "backup" or not alone] for of in (REQUIRED, SECTIONS))
    if "backup" not in tables and isinstance(tables.get("policy"), dict):  # whose kind says whether there must be one
        with located(f"{path}: [policy] "):
            kind_of(tables["policy"], (*RESIDUALS, *CONTROLLERS))
    missing = [section for section in required if section not in tables]
    if missing:
        raise ProblemFileError(f"{path}: section [{missing[0]}] is missing; needed: {', '.join(required)}")
    for section in known:
        if not isinstance(tables.setdefault(section, {}), dict):
            found = shown(tables[section])
            raise ProblemFileError(f"{path}: {section} is {found}, expected a section [{section}] of keys")
    return {section: dict(tables[section]) for section in known}


def is_controller(tables: dict[str, Table]) -> bool:
    """Return whether the policy of a problem file is a controller, which is its own backup.

    Parameters
    ----------
    tables : dict
        Sections.

    Returns
    -------
    bool
    """
    table = tables.get("policy")
    return isinstance(table, dict) and isinstance(table.get("kind"), str) and table["kind"] in CONTROLLERS


def _loop(
    path: Path, plant: Plant, tables: dict[str, Table], ranges: Ranges, *, trust: bool
) -> tuple[LoopPolicy, RecordedController | None]:
    """Make the policy, and the backup where it is a residual on one; defaults are filled in."""
    table = tables["policy"]
    if is_controller(tables):
        return within(path, "policy", lambda: build_loop(table, plant, path.parent, ranges, trust=trust))
    backup = within(path, "backup", lambda: build_backup(plant, tables["backup"], tables["scenarios"], ranges))
    policy: Policy = within(path, "policy", lambda: _policy(plant, backup, table))
    table |= {"scale": list(policy.scale), "input_scale": list(policy.input_scale)}
    if policy.hidden:
        table |= {"init": policy.init, "at_bounds": policy.at_bounds}
    return policy, None


def _ranges(plant: Plant, table: Table) -> Ranges:
    """Return the ranges of section [scenarios], over which the backup of a nonlinear plant is simulated."""
    ranges = table.get("parameters", {})
    if not isinstance(ranges, dict):
        raise ProblemFileError(
            f"parameters is {shown(ranges)}, expected a table of ranges such as {{ mass = [0.5, 1.5] }}"
        )
    parameter_ranges(plant, ranges)
    return ranges


def _policy(plant: Plant, backup: Backup, table: Table) -> Policy:
    sizes = {"scale": plant.nx, "input_scale": plant.nu}
    scale, input_scale = (
        tuple(as_array(key, table[key], (n,)).tolist()) if key in table else () for key, n in sizes.items()
    )
    if kind_of(table, (*RESIDUALS, *CONTROLLERS)) == "linear":
        check_keys(table, ("kind",), tuple(sizes))
        return Policy(plant, backup, scale=scale, input_scale=input_scale)
    check_keys(table, ("kind",), ("hidden", "init", *sizes, "at_bounds"))
    hidden = table["hidden"] = list(layer_widths(table.get("hidden", [12])))
    if not hidden:
        raise DomainError('hidden is [], expected a list of layer widths such as [12]; kind = "linear" has none')
    at_bounds = table.get("at_bounds", True)
    return Policy(plant, backup, tuple(hidden), table.get("init", 0.5), scale, at_bounds, input_scale)


def _scenarios(folder: Path, policy: LoopPolicy, table: Table) -> tuple[Scenarios, LearnedScenarios | None]:
    check_keys(table, ("horizon",), (*DRAWN_KEYS, *DECLARED_KEYS, *LEARNED_KEYS))
    if ("count" in table) == ("initial_states" in table):
        raise ProblemFileError("give either count (and level) or initial_states, not both")
    if isinstance(policy, ControllerPolicy):
        _disturb_plant_alone(policy, table)
    fill_in_scenarios(table)
    batch = described_scenarios(policy, table)
    if "learned" not in table:
        if "learned_sha256" in table:
            raise ProblemFileError("learned_sha256 is given, but no file; name it as learned, or leave both out")
        return batch, None
    if not is_file_name(table["learned"]):
        raise ProblemFileError(f"learned is {shown(table['learned'])}, expected the name of a file")
    batch, learned = join_learned(batch, folder / table["learned"], table, policy.plant, policy.theta_dim)
    check_rollouts(batch.count, batch.horizon, policy.plant.nx, policy.plant.nu)
    return batch, learned


def _disturb_plant_alone(policy: ControllerPolicy, table: Table) -> None:
    """Take half widths of as many disturbances as the plant has states for those of the plant: no memory has one."""
    half, alone = table.get("disturbance"), policy.controlled_plant.nx
    if isinstance(half, list) and len(half) == alone:
        table["disturbance"] = half + [0.0] * (policy.plant.nx - alone)


def _options(table: Table) -> AdaptOptions:
    check_keys(table, (), tuple(field.name for field in dataclasses.fields(AdaptOptions)))
    return AdaptOptions(**table)


def filled(options: AdaptOptions) -> Table:
    """Return all options that have a value; TOML has no null.

    Parameters
    ----------
    options : AdaptOptions

    Returns
    -------
    dict
    """
    return {key: value for key, value in dataclasses.asdict(options).items() if value is not None}
