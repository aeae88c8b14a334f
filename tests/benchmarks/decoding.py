"""What `sliding.decode=dice` gains in Dice over each voxel's likeliest label, on cases that runs held out.

python -m tests.benchmarks.decoding <run folder> [<run folder> ...] [--cases 20]

The difference is paired over the cases. Their number decides between a bootstrap and a t interval (95 %).
"""

from dataclasses import replace
from statistics import fmean

import torch
from rich.console import Console
from rich.table import Table

from app.data.prepare.parallel import spread
from app.data.sets.recorded import recorded_cases
from app.infer.batch.case_dice import CaseDice, dice_of_cases
from app.infer.scan.segmenter import Segmenter
from app.metrics.statistics import interval_of_mean
from tests.benchmarks.of_runs import parser


def main() -> None:
    """Print one row per run."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(options.threads)
    table = Table("run", "cases", "likeliest", "for Dice", "difference (95 %)")
    for run in options.runs:
        segmenter = Segmenter.load(run)
        cases = spread(recorded_cases(run, "validation"), options.cases)
        likeliest, ranked = (
            means(dice_of_cases(replace(segmenter, sliding=replace(segmenter.sliding, decode=name)), cases))
            for name in ("argmax", "dice")
        )
        differences = [(case, ranked[case] - likeliest[case]) for case in likeliest if case in ranked]
        between = interval_of_mean(differences, -1, 1)
        bounds = f" ({between.low:+.4f} to {between.high:+.4f})" if between else ""
        table.add_row(
            run.name,
            str(len(differences)),
            f"{fmean(likeliest[case] for case, _ in differences):.4f}",
            f"{fmean(ranked[case] for case, _ in differences):.4f}",
            f"{fmean(value for _, value in differences):+.4f}{bounds}",
        )
    Console(width=100).print(table)


def means(dice: CaseDice) -> dict[str, float]:
    """Return the mean over labels of each case that has any."""
    known = {case: [value for value in labels.values() if value is not None] for case, labels in dice.items()}
    return {case: fmean(values) for case, values in known.items() if values}


if __name__ == "__main__":
    main()
