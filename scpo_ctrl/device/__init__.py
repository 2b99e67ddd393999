"""The device: a microcontroller, emulated or real, at the other end of a byte stream, and what its flash holds."""

from scpo_ctrl.device.blob import Blob, decode, encode
from scpo_ctrl.device.lifetime import Lifetime, lifetime

__all__ = ["Blob", "Lifetime", "decode", "encode", "lifetime"]
