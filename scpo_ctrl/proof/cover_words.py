"""What a cover says, in words."""

from scpo_ctrl.problem.control_problem import ControlProblem

_NONE = "of later times nothing is proved"


def over_the_horizon(problem: ControlProblem) -> str:
    """Return what a closed cover proves over the horizon.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    str
    """
    options, N = problem.scenario_metrics.options, problem.scenario_metrics.horizon
    parts = []
    if options.path:
        commanded = f" and the command before saturation for t = 0...{N - 1}" if options.command else ""
        parts.append(f"the bounds of the state for t = 1...{N}{commanded}")
    if options.constraints or options.du_max is not None:
        parts.append("the constraints of each step")
    if options.terminal:
        parts.append("V(x_N) <= rho")
    if options.contraction is not None:
        parts.append(f"V(x_N) <= {options.contracted}")
    if options.one_step is not None:
        limit = f"{1 - options.one_step:g} V(x_0)"
        floor = options.contraction_floor
        parts.append("V(x_1) <= " + (f"max({limit}, {floor:g} rho)" if floor else limit))
    return "every point of the declared set keeps " + ", ".join(parts)


def for_ever(problem: ControlProblem) -> str:
    """Return what follows from a closed cover for all times, or that nothing does.

    Parameters
    ----------
    problem : ControlProblem

    Returns
    -------
    str
    """
    options, declared = problem.scenario_metrics.options, problem.scenarios.declared
    level = None if declared is None else declared.level
    if not options.path or level is None or level > 1:
        return f"{_NONE}, as the initial states are no level set inside all bounds"
    floor = options.contraction_floor
    except_changes = (
        ", but for the change of the input where the horizon begins anew" if options.du_max is not None else ""
    )
    if options.contraction is not None and floor <= level:
        rate = f"V falls by {options.contraction:g} every {problem.scenario_metrics.horizon} steps"
        until = f" until it is below {floor:g} rho" if floor else ""
        return f"by repetition the same bounds hold for ever{except_changes}, and {rate}{until}"
    if options.one_step is not None and floor <= level:
        return f"by repetition the same bounds hold for ever{except_changes}, as V does not leave the set in any step"
    if options.terminal and level == 1:
        return f"by repetition the same bounds hold for ever{except_changes}, as x_N is in the set again"
    if options.terminal:
        return "then the backup can take over for ever, if it keeps its level set (--kind backup)"
    return f"{_NONE}: ask for contraction, or for terminal on the whole level set"
