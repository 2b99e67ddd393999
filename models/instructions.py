"""The instructions of an SX function of CasADi, one walk for all that write them down in another language."""

from collections.abc import Iterator
from dataclasses import dataclass

import casadi as ca


@dataclass(frozen=True)
class Instruction:
    """One instruction; its result, and what it takes, have places in the function's memory, which are used again."""

    operation: int  # CasADi's number, such as OP_ADD, OP_CONST, OP_INPUT, OP_OUTPUT
    place: int  # of the result; without meaning for an output
    takes: tuple[int, ...]  # places of as many as the operation has arguments
    entry: tuple[int, int]  # which input or output, and which of its nonzeros
    value: float  # of a constant


def instructions(function: ca.Function) -> Iterator[Instruction]:
    """Walk over an SX function in the order of evaluation.

    Parameters
    ----------
    function : casadi.Function

    Yields
    ------
    Instruction
    """
    for k in range(function.n_instructions()):
        operation, into = function.instruction_id(k), function.instruction_output(k)
        given = list(function.instruction_input(k))
        if operation == ca.OP_INPUT:
            yield Instruction(operation, into[0], (), (given[0], given[1]), 0.0)
        elif operation == ca.OP_OUTPUT:
            yield Instruction(operation, into[0], tuple(given), (into[0], into[1]), 0.0)
        else:
            value = function.instruction_constant(k) if operation == ca.OP_CONST else 0.0
            yield Instruction(operation, into[0], tuple(given), (0, 0), value)


def operation_name(operation: int) -> str:
    """Return what CasADi calls an operation, for messages.

    Parameters
    ----------
    operation : int
        CasADi's number.

    Returns
    -------
    str
        In small letters, without what all of them begin with.
    """
    known = (key for key in vars(ca) if key.startswith("OP_") and getattr(ca, key) == operation)
    return next(known, f"OP_{operation}").removeprefix("OP_").lower()
