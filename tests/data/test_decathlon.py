import json
from pathlib import Path
from typing import Any

import pytest
from conftest import REAL_DATA, MakeTask

from app.core.errors import InputError
from app.data.decathlon import read_task


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}))


def test_listed_cases_count_and_hidden_files_do_not(make_task: MakeTask) -> None:
    folder = make_task(cases=3)
    (folder / "imagesTr" / "._blob_001.nii.gz").write_bytes(b"\0\5\x16\7")
    (folder / "imagesTr" / "stray.nii.gz").write_bytes(b"")
    task = read_task(folder)
    assert [case.id for case in task.cases] == ["blob_001", "blob_002", "blob_003"]
    assert task.name == "Task90_Blobs"
    assert task.labels == ("background", "blob") and task.foreground == ("blob",)


def test_missing_pieces_are_named(make_task: MakeTask) -> None:
    folder = make_task(cases=2)
    with pytest.raises(InputError, match="no such folder"):
        read_task(folder / "nowhere")
    (folder / "labelsTr" / "blob_002.nii.gz").unlink()
    with pytest.raises(InputError, match=r"case blob_002: .*labelsTr.blob_002\.nii\.gz: no such file"):
        read_task(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"0": "background", "2": "x"}}, r"labels: got the numbers \['0', '2'\]"),
        ({"labels": ["background"]}, "labels: got .* wanted a dict"),
        ({"training": []}, "wanted at least one"),
        ({"training": [3]}, "got 3, wanted {image: path, label: path}"),
        ({"modality": None}, "modality: got None"),
    ],
)
def test_wrong_facts_are_named(make_task: MakeTask, changes: dict[str, Any], message: str) -> None:
    folder = make_task(cases=1)
    edit(folder, **changes)
    with pytest.raises(InputError, match=message):
        read_task(folder)


def test_a_case_listed_twice_is_refused(make_task: MakeTask) -> None:
    folder = make_task(cases=1)
    entry = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["training"][0]
    edit(folder, training=[entry, entry])
    with pytest.raises(InputError, match="listed twice"):
        read_task(folder)


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="real data sets are not here")
def test_real_data_sets_are_read() -> None:
    hippocampus = read_task(REAL_DATA / "Task04_Hippocampus")
    assert len(hippocampus.cases) == 219 and hippocampus.foreground == ("Anterior", "Posterior")
    sarcoma = read_task(REAL_DATA / "Task50_SoftTissueSarcoma")
    assert sarcoma.modalities == ("CT", "PET")
