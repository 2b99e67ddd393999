"""Exported trees with everything in them, which several test files build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import controller_exports
import exports
import pytest

import scpo_ctrl
from scpo_ctrl.codegen import export

# A network that adapts, a plain one, a law with memory and nasty labels, one without memory and references.
TREES = {
    "adapting": (exports.result_of, "mlp_2_1", {"adapting": True, "real": "float"}),
    "plain": (exports.result_of, "mlp_3_2", {}),
    "memory": (controller_exports.result_of, "by_hand", {}),
    "feedback": (controller_exports.result_of, "state_feedback", {"real": "float"}),
}


def run_of(kind: str) -> scpo_ctrl.Result:
    """Return the run that a kind of tree exports."""
    find, name, _ = TREES[kind]
    return find(name)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what exports a kind of tree with all builds, once for each prefix."""
    folder = tmp_path_factory.mktemp("trees")

    def make(kind: str, prefix: str = "servo") -> Path:
        path = folder / f"{kind}-{prefix}"
        if not path.exists():
            export(run_of(kind), path, prefix=prefix, measured=False, builds=True, **TREES[kind][2])
        return path

    return make
