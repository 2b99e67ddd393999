"""What the tests of engines hold them against."""

from __future__ import annotations

import pytest

from scpo_ctrl.engine import casadi_engine
from scpo_ctrl.engine.casadi_engine import CasadiEngine


@pytest.fixture
def oracle(monkeypatch):
    """CasADi in its interpreter: nothing in common with the engine but the plant's expressions."""
    monkeypatch.setattr(casadi_engine, "compile_functions", list)
    return CasadiEngine
