"""What a device holds and does, on the desktop: its parameters as bytes, and how long its flash lasts."""

from scpo_ctrl.device.blob import Blob, decode, encode
from scpo_ctrl.device.lifetime import Lifetime, lifetime

__all__ = ["Blob", "Lifetime", "decode", "encode", "lifetime"]
