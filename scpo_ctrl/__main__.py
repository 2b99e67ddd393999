"""``python -m scpo_ctrl`` is the command ``scpo-ctrl``."""

from scpo_ctrl.cli import main

main()
