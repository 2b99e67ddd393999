"""The live page: what a RUN folder holds, shown in a browser while a run goes on."""

from scpo_ctrl.live.server import Server

__all__ = ["Server"]
