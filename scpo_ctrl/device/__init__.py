"""The device: what it holds and does, on the desktop, and an emulated or real one at the other end of a byte stream."""

from scpo_ctrl.device.blob import Blob, decode, encode
from scpo_ctrl.device.lifetime import Lifetime, lifetime

__all__ = ["Blob", "Lifetime", "decode", "encode", "lifetime"]
