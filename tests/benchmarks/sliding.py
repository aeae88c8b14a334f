"""What the windows' length, mirroring and leaving out cost in Dice and save, on the cases that runs held out.

python -m tests.benchmarks.sliding <run folder> [<run folder> ...] [--cases 20] [--windows 4]
Rows are the settings a run was evaluated with, and one change of them each: windows no longer than the patch
(sliding.windows=1), sliding.skip_air=true, sliding.certain=0.99, every window seeing all mirror images, or
one of them in turn (sliding.alternate), nothing mirrored, and sliding=fast. Voxels are those of all windows
and mirror images that pass through a network; `largest loss` is of a single case and label.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from app.core.machine import keep_freed_memory
from app.core.task import Case
from app.data.prepare.parallel import spread
from app.data.sets.recorded import recorded_cases
from app.infer.batch.case_dice import CaseDice, dice_of_cases, mean_over_labels
from app.infer.engines.engine import Engine
from app.infer.scan.segmenter import Segmenter
from app.infer.window.sliding import SlidingSettings
from tests.benchmarks.of_runs import parser


@dataclass
class Counted:
    """An engine that counts the voxels it is given."""

    engine: Engine
    voxels: int = 0

    def __call__(self, windows: Tensor) -> Tensor:
        """(B, C, D, H, W) -> logits (B, L, D, H, W)."""
        self.voxels += windows[:, 0].numel()
        return self.engine(windows)


@dataclass(frozen=True)
class Outcome:
    """Dice by case and label, voxels, and seconds from reading to scoring."""

    dice: CaseDice
    voxels: int
    seconds: float


def main() -> None:
    """One table a run."""
    asked = parser(__doc__)
    asked.add_argument("--windows", type=int, help="sliding.windows in place of the run's own")
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    for run in options.runs:
        segmenter = Segmenter.load(run)
        evaluated = replace(segmenter.sliding, windows=options.windows or segmenter.sliding.windows)
        cases = spread(recorded_cases(run, "validation"), options.cases)
        show(run.name, {
            name: outcome(replace(segmenter, sliding=sliding), cases)
            for name, sliding in variants(evaluated).items()
        })  # fmt: skip


def variants(evaluated: SlidingSettings) -> dict[str, SlidingSettings]:
    """The settings to compare, those of the evaluation first."""
    changed = {
        "no longer than the patch": replace(evaluated, windows=1),
        "skip_air": replace(evaluated, skip_air=True),
        "certain 0.99": replace(evaluated, certain=0.99),
        "all images": replace(evaluated, alternate=False, certain=None),
        "one in turn": replace(evaluated, alternate=True, certain=None),
        "nothing mirrored": replace(evaluated, mirror_axes=(), certain=None),
        "fast": replace(evaluated, overlap=0.25, alternate=True, certain=None),
    }
    return {"as evaluated": evaluated} | {
        name: sliding for name, sliding in changed.items() if sliding != evaluated
    }


def outcome(segmenter: Segmenter, cases: Sequence[Case]) -> Outcome:
    """All cases segmented and scored."""
    counted = tuple(map(Counted, segmenter.members))
    started = time.perf_counter()
    dice = dice_of_cases(replace(segmenter, members=counted), cases)
    return Outcome(dice, sum(engine.voxels for engine in counted), time.perf_counter() - started)


def show(title: str, outcomes: Mapping[str, Outcome]) -> None:
    """The table of a run."""
    first = next(iter(outcomes.values()))
    header = ("settings", "mean Dice", "lost", "largest loss", "million voxels", "s")
    table = Table(*header, title=f"{title}: {len(first.dice)} held-out cases")
    for name, found in outcomes.items():
        table.add_row(
            name,
            f"{mean_over_labels(found.dice):.4f}",
            f"{mean_over_labels(first.dice) - mean_over_labels(found.dice):.4f}",
            f"{largest_loss(first.dice, found.dice):.4f}",
            f"{found.voxels / 1e6:.1f}",
            f"{found.seconds:.1f}",
        )
    Console(width=100).print(table)


def largest_loss(before: CaseDice, after: CaseDice) -> float:
    """Return the largest loss of a single case and label; a Dice that is undefined counts as 1."""
    losses = [0.0]
    for case, labels in before.items():
        for name, old in labels.items():
            new = after[case][name]
            if old != new:
                losses.append((1.0 if old is None else old) - (1.0 if new is None else new))
    return max(losses)


if __name__ == "__main__":
    main()
