"""The instructions of an SX function of CasADi, one walk for all that write them down in another language."""

from collections.abc import Iterator
from dataclasses import dataclass

import casadi as ca


@dataclass(frozen=True)
class Instruction:
    """One instruction; its result, and what it takes, have places in the function's memory, which are used again."""

    operation: int  # CasADi's number, such as OP_ADD, OP_CONST, OP_INPUT, OP_OUTPUT
    place: int  # of the result; without meaning for an output
    takes: tuple[int, ...]  # places; a second one is without meaning for an operation of one argument
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
        operation, into = function.instruction_id(k), tuple(function.instruction_output(k))
        takes, entry, value = tuple(function.instruction_input(k)), (0, 0), 0.0
        if operation == ca.OP_CONST:
            value = function.instruction_constant(k)
        elif operation == ca.OP_INPUT:
            takes, entry = (), (takes[0], takes[1])
        elif operation == ca.OP_OUTPUT:
            entry = (into[0], into[1])
        yield Instruction(operation, into[0], takes, entry, value)
