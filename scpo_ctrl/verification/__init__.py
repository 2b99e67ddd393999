"""Re-checks of a RUN from its files alone; shares only the plant models and the readers of files with the loop."""

from scpo_ctrl.verification.verify import verify

__all__ = ["verify"]
