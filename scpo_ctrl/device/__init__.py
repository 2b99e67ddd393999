"""The device: a microcontroller at the other end of a byte stream, and what its adaptation will do, in numpy."""

from scpo_ctrl.device.adapt import DeviceResult, adapt_as_device, device_adapter
from scpo_ctrl.device.adaptation import DeviceAdapter
from scpo_ctrl.device.options import DeviceCounts, DeviceOptions, DeviceStatus

__all__ = [
    "DeviceAdapter",
    "DeviceCounts",
    "DeviceOptions",
    "DeviceResult",
    "DeviceStatus",
    "adapt_as_device",
    "device_adapter",
]
