"""The entry of a command: everything else is imported where Ctrl-C already ends it in one line."""

import os
import sys

from app.core.errors import INTERRUPTED, NOT_BEGUN
from app.core.signals import interruptible


def main() -> None:
    """Run the command in sys.argv, as `python run.py` and the installed command do.

    Importing PyTorch takes seconds, during which a user may press Ctrl-C as well.
    """
    try:
        with interruptible():
            from app.cli.shell.command_line import main as run_command

            run_command()
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun starts, one speaks
            print(NOT_BEGUN, file=sys.stderr)
        sys.exit(INTERRUPTED)
