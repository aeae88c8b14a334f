import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.errors import InputError
from app.data.sets.dataset_json import describe_folder, write_dataset_json
from app.data.sets.decathlon import read_task
from tests.support.volumes import MakeTask


def bare(folder: Path) -> Path:
    (folder / "dataset.json").unlink()
    return folder


@pytest.mark.parametrize("names", [("imagesTr", "labelsTr"), ("images", "labels")])
def test_a_described_folder_is_a_task(make_task: MakeTask, names: tuple[str, str]) -> None:
    folder = bare(make_task(cases=3, channels=2))
    for old, new in zip(("imagesTr", "labelsTr"), names, strict=True):
        (folder / old).rename(folder / new)
    (folder / names[0] / "._blob_001.nii.gz").write_bytes(b"AppleDouble")
    described = describe_folder(folder)
    assert (len(described.pairs), described.channels, described.values) == (3, 2, (1,))
    write_dataset_json(described, modality=["CT", "PET"], labels=["background", "tumour"])
    task = read_task(folder)
    assert task.modalities == ("CT", "PET") and task.foreground == ("tumour",)
    assert [case.id for case in task.cases] == ["blob_001", "blob_002", "blob_003"]
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == 3
    with pytest.raises(InputError, match=re.escape(str(folder / "dataset.json"))):
        describe_folder(folder)


def test_what_is_missing_is_named(make_task: MakeTask) -> None:
    folder = bare(make_task(cases=2))
    described = describe_folder(folder)
    with pytest.raises(InputError, match=r"check\.modality") as error:
        write_dataset_json(described, modality=["CT", "PET"], labels=["background", "x"])
    assert "['CT', 'PET']" in str(error.value) and re.search(r"\b1\b", str(error.value))  # channels
    with pytest.raises(InputError, match=r"check\.labels") as error:
        write_dataset_json(described, modality=["CT"], labels=["background"])
    assert "['background']" in str(error.value) and re.search(r"\b1\b", str(error.value))  # largest value
    (folder / "labelsTr" / "blob_001.nii.gz").unlink()
    with pytest.raises(InputError, match=re.escape(str(folder))) as error:
        describe_folder(folder)
    found = str(error.value).replace(str(folder), "")
    for token in ("2", "1", "blob_001"):  # scans, label maps, and the scan without a label map
        assert re.search(rf"\b{token}\b", found)
    assert "blob_002" not in found
    (folder / "labelsTr").rename(folder / "masks")
    with pytest.raises(InputError, match=re.escape(str(folder))) as error:
        describe_folder(folder)
    for name in ("imagesTr", "labelsTr"):
        assert name in str(error.value)


def test_label_values_with_gaps_get_a_name_each(make_task: MakeTask) -> None:
    folder = bare(make_task(cases=2))
    for number, value in ((1, 257), (2, 53)):
        path = folder / "labelsTr" / f"blob_00{number}.nii.gz"
        voxels = np.asarray(nib.load(path).dataobj).astype(np.int16) * value
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    described = describe_folder(folder)
    assert described.values == (53, 257)
    with pytest.raises(InputError, match=r"check\.labels") as error:
        write_dataset_json(described, modality=["CT"], labels=["background", "a", "b", "c"])
    assert "53, 257" in str(error.value)
    write_dataset_json(described, modality=["CT"], labels=["background", "a", "b"])
    task = read_task(folder)
    assert task.labels == ("background", "a", "b") and task.label_values == (0, 53, 257)


def test_scans_named_as_nnunet_does_are_paired(make_task: MakeTask) -> None:
    folder = bare(make_task(cases=2))
    for path in list((folder / "imagesTr").iterdir()):
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.NII.GZ")))
    write_dataset_json(describe_folder(folder), modality=["CT"], labels=["background", "blob"])
    assert [case.image.name for case in read_task(folder).cases] == [
        f"blob_00{n}_0000.NII.GZ" for n in (1, 2)
    ]
