"""Power cuts: what was saved is there after each of them. The long form is `make cuts`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from store_builds import HERE, SANITIZE, SOURCES, STORE, build, run

LONG = bool(os.environ.get("SCPO_CUTS"))
SIMULATION = [HERE / "flash_sim.c", HERE / "power_cuts.c"]


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("cuts"), SIMULATION, "cuts", "-O2")


def counted(text: str, name: str) -> int:
    found = re.search(rf"\b{name} (\d+)", text)
    assert found is not None, text
    return int(found[1])


@pytest.mark.parametrize("seed", range(1, 7 if LONG else 2))
def test_at_random(cuts, seed):
    """Program units of 1…32 bytes, 2…4 sectors, torn, unreadable and flickering words, cuts while erasing."""
    status, text = run(cuts, "random", seed, 1_000_000 if LONG else 20_000)
    print(text, end="")
    assert status == 0, text
    assert counted(text, "cuts") > (300_000 if LONG else 6_000)


@pytest.mark.parametrize("seed", range(1, 7 if LONG else 2))
def test_with_sectors_and_units_that_fail(cuts, seed):
    """Cuts and failures together: nothing is lost; hardly ever an older record comes back."""
    boots = 1_000_000 if LONG else 20_000
    _, text = run(cuts, "failing", seed, boots)
    print(text, end="")
    assert all(counted(text, name) == 0 for name in ("lost", "wrong", "refused", "save", "twice")), text
    assert counted(text, "older") <= 5e-5 * boots
    assert counted(text, "failed") > 500


GEOMETRIES = [(2, 32, 2, 2), (2, 32, 3, 1)]
MORE = [
    (2, 32, 2, 1),
    (2, 16, 2, 1),
    (2, 8, 2, 1),
    (2, 8, 2, 2),
    (2, 4, 2, 1),
    (2, 2, 2, 1),
    (2, 1, 2, 1),
    (3, 32, 2, 1),
    (3, 32, 2, 2),
    (3, 32, 3, 1),
]


@pytest.mark.parametrize(("cut", "unit", "sectors", "records"), GEOMETRIES + MORE if LONG else GEOMETRIES)
def test_every_cut_after_every_other(cuts, cut, unit, sectors, records):
    """All moments, all ways of tearing, all ways of reading what flickers, in so many sessions one after the other."""
    status, text = run(cuts, "every", cut, unit, sectors, records)
    print(text, end="")
    assert status == 0, text
    assert counted(text, "cuts") > 10_000


def test_no_undefined_behaviour(tmp_path):
    program = build(tmp_path, SIMULATION, "checked", *SANITIZE, real="double", count=5)
    for kind in ("random", "failing"):
        status, text = run(program, kind, 3, 3_000)
        assert status == 0, text


@pytest.mark.parametrize("real", ["float", "double"])
def test_readers_of_foreign_bytes(tmp_path, real):
    program = build(tmp_path, [HERE / "flash_sim.c", HERE / "fuzz_blob.c"], "fuzz", *SANITIZE, real=real)
    status, text = run(program, 1, *((1_000_000, 200_000) if LONG else (8_000, 2_000)))
    print(text, end="")
    assert status == 0, text
    assert counted(text, "accepted") > 500


FAULTS = {
    "home is not sealed again before erasing": ("        cells = scpo_seal_again(store);\n", "", "random"),
    "seals do not count": (
        "(home == SCPO_STORE_NONE || scpo_newer(number, best))",
        "home == SCPO_STORE_NONE",
        "random",
    ),
    "numbers do not wrap around": ("return a != b && a - b < 0x80000000U;", "return a > b;", "random"),
    "the newest record's sector is erased": ("if (sector != store->home && sector", "if (sector", "failing"),
    "nobody looks whether a sector is erased": ("!scpo_blank(store, address, flash->sector_size)", "0", "failing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_simulation_finds_faults(tmp_path, fault):
    """The judge itself: without what makes the store safe, parameters are lost."""
    right, wrong, kind = FAULTS[fault]
    text = (STORE / "src" / "scpo_store.c").read_text()
    assert text.count(right) == 1
    (tmp_path / "scpo_store.c").write_text(text.replace(right, wrong))
    runtime = [tmp_path / "scpo_store.c", *(file for file in SOURCES if file.name != "scpo_store.c")]
    program = build(tmp_path, SIMULATION, "faulty", "-O1", runtime=runtime)
    assert run(program, kind, 1, 60_000)[0] == 1
