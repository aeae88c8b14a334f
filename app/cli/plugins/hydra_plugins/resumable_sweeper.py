"""The Sweeper plugin that a multirun of this application uses; Hydra finds it in the package hydra_plugins.

What it does is in app/cli/sweep. This file imports nothing slow, as Hydra reads it at every start.
"""

import sys
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ResumableSweeper(Sweeper):
    """Runs the jobs that are not done, and continues where an interrupted sweep stopped."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives; see its Sweeper."""
        self.hydra_context, self.config, self.launcher = hydra_context, config, None
        self._task = task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep, or the mode that launches jobs of its own, and exit.

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
