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


@pytest.fixture(scope="session")
def library(
    tree: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[list[str], list[str]]]:
    """Return what compiles a kind of tree and its loop on a board, once: flags of a program, and what it links."""
    folder = tmp_path_factory.mktemp("libraries")

    def make(kind: str) -> tuple[list[str], list[str]]:
        exports.need("gcc", "ar")
        path, archive = tree(kind), folder / kind / "libservo.a"
        flags = [*exports.STRICT.split(), f"-I{path / 'include'}", f"-I{path / 'boards/common'}"]
        if not archive.exists():
            archive.parent.mkdir(exist_ok=True)
            sources = [*(path / "src").glob("*.c"), path / "boards/common/servo_board.c"]
            exports.run("gcc", "-std=c99", *flags, "-c", *sources, cwd=archive.parent)
            exports.run("ar", "rcs", archive, *archive.parent.glob("*.o"))
        return flags, [str(archive), "-lm"]

    return make
