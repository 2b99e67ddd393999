from __future__ import annotations

import pytest

from scpo_ctrl.campaign import cluster


@pytest.fixture(scope="module")  # its processes use the computer while they wait
def client():
    """Two worker processes of Dask."""
    pytest.importorskip("distributed")
    with cluster.local(2) as client:
        yield client
