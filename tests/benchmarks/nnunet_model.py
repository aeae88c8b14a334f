"""nnU-Net's own plan of a data set and its default network, random weights, in files as its predictor reads.

<python with nnunetv2> tests/benchmarks/nnunet_model.py <folder in Decathlon layout> <folder to write>
Imports nothing of this application: nnU-Net has an environment of its own. Writes `model` for
nnUNetv2_predict_from_modelfolder; the last line printed is what the model is, as JSON.
"""

import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

_DATASET = "Dataset001_Scans"
_CONFIGURATION = "3d_fullres"


def main(source: Path, folder: Path) -> None:
    """Plan, prepare the cases (its trainer does not begin without), draw weights."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(folder / name)  # read when nnunetv2 is imported
    write_raw(source, folder / "raw" / _DATASET)

    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.run.run_training import get_trainer_from_args

    extract_fingerprints([1], num_processes=1, show_progress_bar=False)
    plan_experiments([1])
    preprocess([1], configurations=[_CONFIGURATION], num_processes=[1], show_progress_bar=False)
    torch.manual_seed(0)
    trainer = get_trainer_from_args(_DATASET, _CONFIGURATION, 0, device=torch.device("cpu"))
    trainer.initialize()
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # decides what prediction mirrors
    model = folder / "model"
    (model / "fold_0").mkdir(parents=True)
    trainer.save_checkpoint(str(model / "fold_0" / "checkpoint_final.pth"))
    planned = folder / "preprocessed" / _DATASET
    shutil.copy(planned / "nnUNetPlans.json", model / "plans.json")
    shutil.copy(planned / "dataset.json", model / "dataset.json")
    facts = {
        "patch": [int(n) for n in trainer.configuration_manager.patch_size],
        "parameters": sum(weights.numel() for weights in trainer.network.parameters()),
        "mirrored": [int(axis) for axis in trainer.inference_allowed_mirroring_axes or ()],
        "versions": f"nnunetv2 {version('nnunetv2')}, torch {version('torch')}",
    }
    print(json.dumps(facts))


def write_raw(source: Path, raw: Path) -> None:
    """The labelled cases under the names nnU-Net wants."""
    facts = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for case in facts["training"]:
        name = Path(case["image"]).name.removesuffix(".nii.gz")
        shutil.copy(source / case["image"], raw / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copy(source / case["label"], raw / "labelsTr" / f"{name}.nii.gz")
    wanted = {
        "channel_names": facts["modality"],
        "labels": {name: int(value) for value, name in facts["labels"].items()},
        "numTraining": len(facts["training"]),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(wanted), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
