"""The device: an emulated or real microcontroller at the other end of a byte stream."""
