import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InputError
from app.data.sets.decathlon import read_task
from tests.support.volumes import REAL_DATA, MakeTask


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
    with pytest.raises(InputError, match=re.escape(str(folder / "nowhere"))) as error:
        read_task(folder / "nowhere")
    for key in ("paths.data", "task.folder", "task.download"):  # what to set
        assert key in str(error.value)
    label = folder / "labelsTr" / "blob_002.nii.gz"
    label.unlink()
    with pytest.raises(InputError, match=re.escape(str(label))) as error:
        read_task(folder)
    assert "blob_002" in str(error.value).replace(str(label), "")


ENTRY = {"image": "./imagesTr/blob_001.nii.gz", "label": "./labelsTr/blob_001.nii.gz"}


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"labels": {"1": "x", "2": "y"}}, ["labels", "['1', '2']", "65535"]),
        ({"labels": {"0": "background", "65536": "x"}}, ["labels", "'65536'", "65535"]),
        ({"labels": {"0": "background", "-1": "x"}}, ["labels", "'-1'"]),
        ({"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}}, ["labels", "background"]),
        ({"labels": ["background"]}, ["labels", "['background']"]),
        ({"training": []}, ["training"]),
        ({"training": [{**ENTRY, "image": "/"}]}, ["image", "'/'"]),
        ({"training": [{**ENTRY, "label": "./"}]}, ["label", "'./'"]),
        ({"training": [{**ENTRY, "image": "imagesTr/../../"}]}, ["'imagesTr/../../'"]),
        ({"training": [{**ENTRY, "image": "x" * 300}]}, ["image", "too long"]),
        ({"training": [{**ENTRY, "label": "x" * 300 + ".nii.gz"}]}, ["label", "too long"]),
        ({"training": [3]}, ["training", "3", "image", "label"]),
        ({"training": [{**ENTRY, "annotated": [["blob"]]}]}, ["annotated", "[['blob']]", "blob"]),
        ({"training": [{**ENTRY, "annotated": "blob"}]}, ["annotated", "'blob'"]),
        ({"modality": None}, ["modality", "None"]),
    ],
)
def test_wrong_facts_are_named(make_task: MakeTask, changes: dict[str, Any], tokens: list[str]) -> None:
    folder = make_task(cases=1)
    edit(folder, **changes)
    path = folder / "dataset.json"
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_task(folder)
    found = str(error.value).replace(str(path), "")
    for token in tokens:
        assert token in found


def test_label_values_may_have_gaps_and_are_put_in_order(make_task: MakeTask) -> None:
    folder = make_task(cases=1)
    edit(folder, labels={"300": "c", "0": "background", "7": "a", "65535": "d"})
    task = read_task(folder)
    assert task.labels == ("background", "a", "c", "d") and task.label_values == (0, 7, 300, 65535)


def test_a_byte_order_mark_is_read_over(make_task: MakeTask) -> None:
    folder = make_task(cases=1)
    path = folder / "dataset.json"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_task(folder).labels == ("background", "blob")


def test_a_case_listed_twice_is_refused(make_task: MakeTask) -> None:
    folder = make_task(cases=1)
    entry = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["training"][0]
    edit(folder, training=[entry, entry])
    with pytest.raises(InputError, match=re.escape(str(folder / "dataset.json"))) as error:
        read_task(folder)
    assert "blob_001" in str(error.value)


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="real data sets are not here")
def test_real_data_sets_are_read() -> None:
    hippocampus = read_task(REAL_DATA / "Task04_Hippocampus")
    assert len(hippocampus.cases) == 219 and hippocampus.foreground == ("Anterior", "Posterior")
    sarcoma = read_task(REAL_DATA / "Task50_SoftTissueSarcoma")
    assert sarcoma.modalities == ("CT", "PET")


def test_a_missing_folder_is_answered_with_a_data_set_of_a_similar_name(make_task: MakeTask) -> None:
    folder = make_task(cases=1)
    (folder.parent / "qqqq").mkdir()  # no data set
    for name, meant in {f"{folder.name}s": True, "qqqqq": False}.items():
        with pytest.raises(InputError, match="no such folder") as error:
            read_task(folder.parent / name)
        assert all(
            token in str(error.value) for token in (str(folder.parent / name), "task.folder", "paths.data")
        )
        assert ("did you mean" in str(error.value) and f"{folder}?" in str(error.value)) is meant


@pytest.mark.skipif(os.sep == "\\", reason="there such paths are right")
def test_paths_of_windows_are_named_as_the_cause(make_task: MakeTask) -> None:
    folder = make_task(cases=1)
    edit(folder, training=[{key: path.replace("/", "\\") for key, path in ENTRY.items()}])
    with pytest.raises(InputError, match="no such file") as error:
        read_task(folder)
    assert str(error.value).endswith("write / in paths, not \\")
