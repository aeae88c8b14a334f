"""mode=evaluate: what a folder of predictions scores, and by which files and versions."""

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from app import run
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.reading import Reading
from app.io.volumes import write_label_map
from tests.support.volumes import MakeTask


@pytest.mark.e2e
def test_missing_predictions_are_misses_by_name(make_task: MakeTask, tmp_path: Path) -> None:
    data = make_task(cases=4)
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("blob_001", "blob_002", "blob_004"):
        shutil.copy(data / "labelsTr" / f"{name}.nii.gz", masks)
    (tmp_path / "sites.csv").write_text("case,site\nblob_001,north\nblob_002,north\nblob_003,south\n")
    words = [
        *("mode=evaluate", "task=decathlon", f"task.folder={data}", f"task.strata={tmp_path / 'sites.csv'}"),
        *(f"evaluate.predictions={masks}", f"evaluate.labels={data / 'labelsTr'}", "task.group.block=2"),
        "task.group.pattern='blob_([0-9]+)'",
    ]
    scored = run(*words, f"evaluate.output={tmp_path / 'scores'}")
    summary = scored.summary
    assert (summary["cases"], summary["missing_predictions"]) == (4, ["blob_003"])
    assert summary["dice"] == {"blob": 0.75} and summary["missed"] == {"blob": 1}
    assert summary["mean_dice_interval"]["method"] == "t" and summary["mean_dice_interval"]["groups"] == 2
    assert [row["status"] for row in scored.cases] == ["found", "found", "missed", "found"]
    assert [row["group"] for row in scored.cases] == ["0", "0", "1", "1"]
    assert float(scored.cases[2]["hd95_mm"]) == pytest.approx((19**2 + 22**2 + 17**2) ** 0.5, rel=1e-5)
    found = read_json(scored.path / "statistics.json")
    assert found["labels"]["blob"]["presence"]["missed"] == ["blob_003"]
    assert found["labels"]["blob"]["metrics"]["dice"]["worst_case"] == "blob_003"
    assert [(one["by"], one["value"], one["metrics"]["dice"]["mean"]) for one in found["strata"]] == [
        ("site", "north", 1.0),
        ("site", "south", 0.0),
    ]
    made = read_json(scored.path / "environment.json")
    assert made["nsd_tolerance_mm"] == 2.0 and made["monai"] and len(made["data_hash"]) == 64
    files = made["sha256_of_prediction_and_reference"]
    assert files["blob_003"][0] is None and files["blob_001"][0] == files["blob_001"][1]

    left_out = run(*words, f"evaluate.output={tmp_path / 'again'}", "evaluate.missing=left_out")
    assert left_out.summary["dice"] == {"blob": 1.0} and left_out.summary["missing_predictions"] == [
        "blob_003"
    ]
    with (left_out.path / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    for name in ("blob_001", "blob_002", "blob_004"):
        label = nib.load(data / "labelsTr" / f"{name}.nii.gz")
        sure = np.where(np.asarray(label.dataobj) > 0, 0.8, 0.1).astype(np.float32)
        (tmp_path / "sure").mkdir(exist_ok=True)
        image = nib.Nifti1Image(np.stack([1 - sure, sure], axis=-1), label.affine)
        nib.save(image, tmp_path / "sure" / f"{name}.nii.gz")
    judged = run(
        *words, f"evaluate.output={tmp_path / 'sure'}", f"evaluate.probabilities={tmp_path / 'sure'}"
    )
    figures, curve = judged.summary["calibration"], read_json(judged.path / "calibration.json")
    assert [one["confidence"] for one in curve["bins"]] == pytest.approx([0.8, 0.9], abs=1e-3)
    assert 0.1 < figures["ece"] < 0.2 and figures["temperature"] < 0.5  # all are right: surer is better
    assert figures["ece_with_temperature"] < 0.01
    with pytest.raises(InputError, match=r"blob_001\.nii\.gz"):
        run(*words, f"evaluate.output={tmp_path / 'no'}", f"evaluate.probabilities={tmp_path}")
    with pytest.raises(InputError, match=r"evaluate\.missing"):
        run(*words, f"evaluate.output={tmp_path / 'no'}", "evaluate.missing=skip")


@pytest.mark.e2e
def test_digest_of_a_pair_covers_both_files(make_task: MakeTask, tmp_path: Path) -> None:
    data, masks = make_task(cases=1), tmp_path / "masks"
    masks.mkdir()
    labels = sitk.ReadImage(str(data / "labelsTr" / "blob_001.nii.gz"))
    digests = []
    for factor in (0, 1):  # the headers are equal
        sitk.WriteImage(factor * labels, str(masks / "blob_001.mhd"), False)
        words = ("mode=evaluate", "task=decathlon", f"task.folder={data}", f"evaluate.predictions={masks}")
        scored = run(*words, f"evaluate.labels={data / 'labelsTr'}", f"evaluate.output={tmp_path / 'scores'}")
        files = read_json(scored.path / "environment.json")["sha256_of_prediction_and_reference"]
        digests.append(files["blob_001"])
    assert digests[0][0] != digests[1][0] and digests[0][1] == digests[1][1]


def probabilities(label: Path, target: Path, values: np.ndarray, *, to: np.ndarray | None = None) -> None:
    """Write probabilities (i, j, k, class) on the grid of a label map, or with another affine."""
    target.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(values.astype(np.float32), nib.load(label).affine if to is None else to), target)


@pytest.mark.e2e
def test_probabilities_are_checked_and_read_in_their_own_orientation(
    make_task: MakeTask, tmp_path: Path
) -> None:
    data = make_task(cases=1)
    label = data / "labelsTr" / "blob_001.nii.gz"
    image, target = nib.load(label), tmp_path / "sure" / "blob_001.nii.gz"
    sure = np.where(np.asarray(image.dataobj) > 0, 0.8, 0.1)
    right = np.stack([1 - sure, sure], axis=-1)
    words = ("mode=evaluate", "task=decathlon", f"task.folder={data}", f"evaluate.labels={label.parent}")
    words = (*words, f"evaluate.predictions={label.parent}", f"evaluate.probabilities={target.parent}")

    def briers() -> float:
        return run(*words, f"evaluate.output={tmp_path / 'scores'}").summary["calibration"]["brier"]

    probabilities(label, target, right)
    plain = briers()
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = len(right) - 1
    probabilities(label, target, right[::-1], to=image.affine @ flip)
    assert briers() == pytest.approx(plain, rel=1e-6)
    away = image.affine.copy()
    away[0, 3] += 20
    wrong = [(right, away), (np.pad(right, ((0, 2), (0, 0), (0, 0), (0, 0))), None)]
    wrong += [(right * np.nan, None), (right * np.inf, None), (np.log(right), None), (right * 100, None)]
    wrong += [(right * 0, None), (right[..., :1], None), (right[..., 0], None)]
    for values, to in wrong:
        probabilities(label, target, values, to=to)
        with pytest.raises(InputError, match=r"sure.blob_001\.nii\.gz") as error:
            briers()
        assert "\n" not in str(error.value)


DICOM_NAMES = ("background", "a", "b")


def dicom_set(folder: Path) -> tuple[Path, np.ndarray]:
    """A data set of three series whose references are a segmentation, a structure set and a series."""
    pytest.importorskip("highdicom")
    from app.core.reading import Reading
    from app.infer.batch.dicom_seg import write_dicom_seg
    from app.infer.batch.dicom_sources import scan_frames
    from app.infer.batch.rtstruct import write_rtstruct
    from tests.support.dicom import a_scan, save, slices

    labels = np.zeros((9, 8, 6), dtype=np.uint8)
    labels[2:6, 2:6, 1:5], labels[6:8, 2:6, 1:5] = 1, 2
    entries = []
    for case, write in (("seg", write_dicom_seg), ("structures", write_rtstruct), ("series", None)):
        scan = save(folder / "imagesTr" / case, slices(a_scan(), series=case))
        label = folder / "labelsTr" / (f"{case}.dcm" if write else case)
        label.parent.mkdir(exist_ok=True)
        if write is None:
            save(label, slices(labels.astype(np.int16), series="labels", intercept=0.0))
        else:
            write(label, labels, DICOM_NAMES, scan_frames(scan, Reading()))
        entries.append({"image": f"imagesTr/{case}", "label": f"labelsTr/{label.name}"})
    facts = {
        "modality": {"0": "CT"},
        "labels": {str(value): name for value, name in enumerate(DICOM_NAMES)},
        "training": entries,
    }
    write_json(folder / "dataset.json", facts)
    return folder, labels


@pytest.mark.e2e
def test_dicom_labels_on_either_side(tmp_path: Path) -> None:
    data, labels = dicom_set(tmp_path / "data")
    words = ["mode=evaluate", "task=decathlon", f"task.folder={data}", f"evaluate.labels={data / 'labelsTr'}"]
    from app.infer.batch.dicom_sources import scan_frames
    from app.infer.batch.rtstruct import write_rtstruct

    scans = {case: data / "imagesTr" / case for case in ("seg", "structures", "series")}
    nifti, dicom = tmp_path / "nifti", tmp_path / "dicom"
    less = np.where(labels == 2, 0, labels)
    for case, scan in scans.items():
        write_label_map(nifti / f"{case}.nii.gz", less, range(3), like=scan)
        if case != "seg":  # a prediction that is missing, and a reference without grid
            write_rtstruct(dicom / f"{case}.rtstruct.dcm", less, DICOM_NAMES, scan_frames(scan, Reading()))
    for folder in (nifti, dicom):
        scored = run(*words, f"evaluate.predictions={folder}", f"evaluate.output={tmp_path / 'scores'}")
        found = {(row["case"], row["label"]): (row["status"], row["dice"]) for row in scored.cases}
        missing = folder == dicom
        assert found["seg", "a"] == (("missed", "0") if missing else ("found", "1"))
        for case in ("structures", "series"):
            assert found[case, "a"] == ("found", "1") and found[case, "b"] == ("missed", "0")
        assert scored.summary["missing_predictions"] == ["seg"] * missing
    other = ["evaluate.predictions=" + str(dicom), f"evaluate.output={tmp_path / 'no'}"]
    (data / "dataset.json").rename(tmp_path / "dataset.json")
    facts = read_json(tmp_path / "dataset.json")
    write_json(data / "dataset.json", {**facts, "training": facts["training"][2:]})
    with pytest.raises(InputError, match=r"seg\.dcm.*task\.folder"):
        run(*words, *other)
