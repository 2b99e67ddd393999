"""The device: what it holds and will do, in Python, and an emulated or real one at the other end of a byte stream."""

from scpo_ctrl.device.adapt import DeviceResult, adapt_as_device, device_adapter
from scpo_ctrl.device.adaptation import DeviceAdapter
from scpo_ctrl.device.blob import Blob, decode, encode
from scpo_ctrl.device.lifetime import Lifetime, lifetime
from scpo_ctrl.device.options import DeviceCounts, DeviceOptions, DeviceStatus

__all__ = [
    "Blob",
    "DeviceAdapter",
    "DeviceCounts",
    "DeviceOptions",
    "DeviceResult",
    "DeviceStatus",
    "Lifetime",
    "adapt_as_device",
    "decode",
    "device_adapter",
    "encode",
    "lifetime",
]
