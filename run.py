"""The command line: composes the configuration and calls the function its mode names."""

import sys

import hydra
from omegaconf import DictConfig

from app.cli.shell.command_line import command_line
from app.cli.shell.main import run


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """Run the chosen mode."""
    run(cfg)


if __name__ == "__main__":
    with command_line(sys.argv[1:]):
        main()
