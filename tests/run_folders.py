"""RUN folders to look into, and to tamper with."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import numpy as np
from problem_files import KINDS, write, write_expert

from scpo_ctrl import verify
from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.files import digest, load_arrays, read_problem
from scpo_ctrl.record.folder import RunFolder


def make_run(folder: Path, changes, *, trust: bool = False) -> Path:
    """Adapt a small problem into a RUN folder."""
    folder.mkdir(exist_ok=True)
    write_expert(folder / "expert.csv", *((3, 2) if "two" in folder.name else (2, 1)))
    file = read_problem_file(write(folder / "problem.toml", changes), trust=trust)
    with RunFolder(folder / "run", file) as run:
        run.save(adapt(file.problem, file.options))
    return folder / "run"


class Runs:
    """A run of each of KINDS, made when it is first asked for, once for all processes that use the folder."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root = root

    def __getitem__(self, kind: str) -> Path:
        name = kind.replace(" ", "_")
        folder, whole = self.root / name, self.root / f"{name}.whole"
        if not whole.exists():
            with (self.root / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not whole.exists():  # nor made by another process meanwhile
                    make_run(folder, KINDS[kind])
                    whole.touch()
        return folder / "run"


def rewrite(run: Path, *, sign: bool = False, **changes) -> None:
    """Change arrays of history.npz; with `sign`, as somebody would who knows how the digest is made."""
    arrays = load_arrays(run) | changes
    if sign:
        arrays.pop("digest")
        total = digest(arrays, *read_problem(run))
        arrays["digest"] = np.array(total)
        edit_summary(run, digest=total)
    np.savez(run / "history.npz", **arrays)


def edit_summary(run: Path, **changes) -> None:
    path = run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def faults(run: Path) -> str:
    found = verify(run)
    assert not found.passed
    return "; ".join(found.faults)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(folder: Path, files: dict[str, bytes]) -> None:
    """Write files back as `content` found them."""
    for name, data in files.items():
        if (folder / name).read_bytes() != data:
            (folder / name).write_bytes(data)


def same_arrays(one: Path, other: Path) -> None:
    """Check that two runs are equal to the last bit in all but the time they took."""
    a, b = load_arrays(one), load_arrays(other)
    assert a.keys() == b.keys()
    for name, array in a.items():
        assert array.dtype == b[name].dtype, name
        assert array.tobytes() == b[name].tobytes(), name
    assert (one / "theta.npy").read_bytes() == (other / "theta.npy").read_bytes()
    summaries = [json.loads((run / "result.json").read_text()) for run in (one, other)]
    for summary in summaries:
        summary.pop("seconds")
    assert summaries[0] == summaries[1]
