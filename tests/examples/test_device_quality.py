"""The adaptation of a device comes near what Newton's reaches, and is safe; the benchmark has the full table."""

import device_quality
import pytest

from scpo_ctrl.device import DeviceStatus


@pytest.mark.long
def test_share_of_newtons_improvement():
    found = device_quality.compare(device_quality.r3(1, count=4), 150, fresh=500)
    assert len(found.violating) == 3 and all(0 <= part <= 1 for part in found.violating)
    assert found.newton < found.start and len(found.shares) == 2
    for share, device in zip(found.shares, found.devices, strict=True):
        assert share > 0.9
        assert device.is_safe() and device.counts.commits > 40
        assert device.status in (DeviceStatus.CONVERGED, DeviceStatus.COMMITTED, DeviceStatus.REJECTED)
