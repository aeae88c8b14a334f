"""The Sweeper plugin for multiruns of this application; Hydra finds it in the package hydra_plugins.

The work is done in app/cli/sweep. This file imports nothing slow, because Hydra reads it at every start.
"""

import sys
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ResumableSweeper(Sweeper):
    """A sweeper that runs the jobs that are not done, so that an interrupted sweep can continue."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store Hydra's arguments; see the base class."""
        self.hydra_context, self.config, self.launcher = hydra_context, config, None
        self._task = task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep, or a mode that launches its own jobs, and exit.

        The exit code is 0 if every job is done, 1 if not, 130 if interrupted.
        """
        from app.cli.config.exit_codes import exit_codes
        from app.cli.sweep.launch import Launching
        from app.cli.sweep.sweep import launch_mode
        from app.core.errors import Interrupted

        assert self.config is not None and self.hydra_context is not None
        with exit_codes():
            try:
                done = launch_mode(Launching(self.config, self.hydra_context, self._task), arguments)
            except KeyboardInterrupt:
                raise Interrupted("interrupted; the same command continues") from None
        sys.exit(0 if done else 1)
