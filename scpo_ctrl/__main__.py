"""The command ``scpo-ctrl``, and ``python -m scpo_ctrl``."""

from scpo_ctrl.stop import without_traceback


def main() -> None:
    """Run the command line, which takes a while to import."""
    without_traceback()
    from scpo_ctrl.cli import main as command

    command()


if __name__ == "__main__":
    main()
