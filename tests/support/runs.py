"""A run folder made by hand, for the report."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from app.core.files import write_json, write_text
from app.infer.batch.outputs import OutputSettings
from app.infer.engines.engine import Member
from app.infer.scan.run_models import read_members
from app.models.checkpoint import write_checkpoint
from tests.support.networks import SETTINGS, make_bench
from tests.support.volumes import MakeTask

HOSTILE = "<script>alert('$x_1$')</script>"


DICE = {"case_a": (0.9, 0.7), "case_b": (0.5, None), "case_c": (1.0, 0.8)}


def make_run(folder: Path, *, mean_dice: float = 0.775) -> Path:
    """Write a run folder of three cases with the label `one` and a hostile one."""
    folder.mkdir(parents=True)
    summary = {
        **{"task": "phantom", "fold": 0, "seed": 7, "model": "unet", "op": "cakes"},
        **{"params": 1_234_567, "macs_per_patch": 4_321_000_000, "patch": [32, 40, 48]},
        **{"steps": 1000, "samples": 2000, "train_seconds": 61.5, "peak_rss_mb": 512.2},
        **{"mean_dice": mean_dice, "dice": {"one": 0.8, HOSTILE: 0.75}},
        **{"hd95_mm": {"one": 2.0, HOSTILE: 3.0}, "nsd": {"one": 0.92, HOSTILE: 0.9}},
    }
    environment = {"torch": "2.6.0", "git": "abc", "started": "2025-03-04T10:11:12"}
    write_json(folder / "summary.json", summary)
    write_json(folder / "environment.json", environment)
    (folder / "config.yaml").write_text("fold: 0\nseed: 7\n")
    (folder / "plan.yaml").write_text("patch: {value: [32, 40, 48], reason: fits the memory}\nbatch: 2\n")
    (folder / "layout.yaml").write_text("convolutions: {encoder.0: {1x3x3: 4, 3x3x3: 12}}\n")
    (folder / "metrics.csv").write_text(
        f"step,seconds,train_loss,lr,val_dice_mean,val_dice_one,val_dice_{HOSTILE}\n"
        "10,1,0.9,0.01,,,\n20,2,0.5,0.005,0.6,0.7,0.5\n"
    )
    write_cases(folder)
    return folder


def write_cases(folder: Path) -> None:
    rows = ["case,label,dice,hd95_mm,nsd,volume_mm3,reference_mm3"]
    files = {}
    for case, values in DICE.items():
        for label, dice in zip(("one", HOSTILE), values, strict=True):
            rows.append(f"{case},{label},{'' if dice is None else dice},2.5,0.9,10,11")
        files[case] = {name: str(folder / f"{case}_{name}.nii.gz") for name in ("image", "label")}
        write_case(files[case], folder / "predictions" / f"{case}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    write_json(folder / "split.json", {"fold": 0, "train": [], "validation": list(DICE), "files": files})


def write_case(files: dict[str, str], prediction: Path) -> None:
    """Write a scan of two channels with two boxes, predicted one voxel too high."""
    image = np.random.default_rng(0).normal(size=(12, 14, 10, 2)).astype(np.float32)
    reference = np.zeros((12, 14, 10), np.uint8)
    reference[2:6, 3:9, 2:7] = 1
    reference[7:10, 3:9, 2:7] = 2
    write_volume(Path(files["image"]), image)
    write_volume(Path(files["label"]), reference)
    write_volume(prediction, np.roll(reference, 1, axis=2))


def write_volume(path: Path, voxels: np.ndarray) -> None:
    """Write with the first axis running to the left, so that canonical orientation has work to do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, 1.0, 2.5, 1.0])), path)


def trained_run(make_task: MakeTask, folder: Path, steps: int) -> Member:
    """A run of a few steps, with its split."""
    bench = make_bench(make_task(cases=4), folder / "cache")
    settings = replace(SETTINGS, steps=steps, epoch_steps=steps)
    state = bench.state(settings)
    bench.train(state, settings)
    run = folder / "run"
    write_checkpoint(run / "last.pt", bench.checkpoint(state))
    files = {case.id: {"image": str(case.image), "label": str(case.label)} for case in bench.task.cases}
    split = {"fold": 0, "train": sorted(files)[1:], "validation": sorted(files)[:1], "files": files}
    write_json(run / "split.json", split)
    config = "{augment: {flip_axes: []}, infer: {overlap: 0.25, windows: 2, mirror_axes: []}}"
    write_text(run / "config.yaml", config)
    return read_members([run], "last")[0]


NIFTI = OutputSettings("nii.gz", False, False, False)
