import json
from pathlib import Path

import pytest
from conftest import MakeTask

from app.core.errors import InputError
from app.data.decathlon import read_task
from app.data.describe import describe, write_dataset_json


def bare(folder: Path) -> Path:
    (folder / "dataset.json").unlink()
    return folder


@pytest.mark.parametrize("names", [("imagesTr", "labelsTr"), ("images", "labels")])
def test_a_described_folder_is_a_task(make_task: MakeTask, names: tuple[str, str]) -> None:
    folder = bare(make_task(cases=3, channels=2))
    for old, new in zip(("imagesTr", "labelsTr"), names, strict=True):
        (folder / old).rename(folder / new)
    (folder / names[0] / "._blob_001.nii.gz").write_bytes(b"AppleDouble")
    described = describe(folder)
    assert (len(described.pairs), described.channels, described.largest_label) == (3, 2, 1)
    write_dataset_json(described, modality=["CT", "PET"], labels=["background", "tumour"])
    task = read_task(folder)
    assert task.modalities == ("CT", "PET") and task.foreground == ("tumour",)
    assert [case.id for case in task.cases] == ["blob_001", "blob_002", "blob_003"]
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == 3
    with pytest.raises(InputError, match="is there already"):
        describe(folder)


def test_what_is_missing_is_named(make_task: MakeTask) -> None:
    folder = bare(make_task(cases=2))
    described = describe(folder)
    with pytest.raises(InputError, match=r"check.modality: got .*, the scans have 1 channels"):
        write_dataset_json(described, modality=["CT", "PET"], labels=["background", "x"])
    with pytest.raises(InputError, match=r"check.labels: got .*values up to 1"):
        write_dataset_json(described, modality=["CT"], labels=["background"])
    (folder / "labelsTr" / "blob_001.nii.gz").unlink()
    with pytest.raises(InputError, match=r"got 2 scans and 1 label maps.*without partner: blob_001"):
        describe(folder)
    (folder / "labelsTr").rename(folder / "masks")
    with pytest.raises(InputError, match="wanted the folders imagesTr and labelsTr"):
        describe(folder)
