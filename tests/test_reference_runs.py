"""Short runs give the numbers that were written down, to the last bit where the computer's arithmetic is the same."""

from __future__ import annotations

import json

import pytest
import reference_runs

TABLE = json.loads(reference_runs.FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in TABLE if name != "arithmetic"])
def test_numbers_have_not_changed(name):
    found, written = reference_runs.row(*reference_runs.runs()[name]), TABLE[name]
    assert found["objective"] == pytest.approx(written["objective"], rel=1e-7)
    assert found["theta"] == pytest.approx(written["theta"], rel=1e-5)
    assert found["rollouts"] == written["rollouts"]
    if reference_runs.arithmetic() == TABLE["arithmetic"]:
        assert found["sha256"] == written["sha256"]


def test_every_run_is_written_down():
    assert [*TABLE] == ["arithmetic", *reference_runs.runs()]
