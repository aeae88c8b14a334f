"""Make the small model in docs/models/phantom from a run of `python run.py paths.run=runs/phantom`.

python -m tests.benchmarks.first_model runs/phantom docs/models/phantom
It keeps the weights for inference, the configuration and the model card, and adds the scan and the reference
of the first held-out case to try it on.
"""

import argparse
import shutil
from pathlib import Path

from app.core import run_folder
from app.core.files import read_json
from app.models.checkpoint import read_checkpoint, write_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    split = read_json(chosen.run / run_folder.SPLIT)
    files = split["files"][split["validation"][0]]
    checkpoint = read_checkpoint(chosen.run / run_folder.LAST)
    write_checkpoint(chosen.output / run_folder.LAST, checkpoint.without_training())
    for name in (run_folder.CONFIG, run_folder.CARD):
        shutil.copy(chosen.run / name, chosen.output / name)
    shutil.copy(files["image"], chosen.output / "scan.nii.gz")
    shutil.copy(files["label"], chosen.output / "reference.nii.gz")


if __name__ == "__main__":
    main()
