"""Options of runs without audits, for tests of the loop itself; tests/adaptation/test_audited.py has those with."""

from __future__ import annotations

import functools

import scpo_ctrl

AdaptOptions = functools.partial(scpo_ctrl.AdaptOptions, audit=False)
