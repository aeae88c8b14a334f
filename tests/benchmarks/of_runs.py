"""What benchmarks over the held-out cases of finished runs ask for on the command line."""

import argparse
from pathlib import Path

import torch


def parser(about: str | None) -> argparse.ArgumentParser:
    """Run folders, how many cases of each, and threads."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("runs", type=Path, nargs="+")
    made.add_argument("--cases", type=int, help="of each run, spread over all it held out")
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    return made
