"""Volumes of labels, counted from label maps of every kind of file."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from app.core.reading import Reading
from app.data.prepare.cache import Cache
from app.data.sample.label_volumes import label_volumes
from app.data.sets.decathlon import read_task
from app.infer.batch.dicom_seg import write_dicom_seg
from app.infer.batch.dicom_sources import scan_frames
from app.infer.batch.rtstruct import write_rtstruct
from app.io.volumes import write_label_map
from tests.support.dicom import a_scan, save, slices

NAMES = ("background", "a", "b")


def test_labels_of_dicom_are_counted_on_the_grid_of_their_scan(tmp_path: Path) -> None:
    labels = np.zeros((9, 8, 6), dtype=np.uint8)
    labels[2:6, 2:6, 1:5], labels[7, 3, 2] = 1, 2
    entries = []
    for case, write in (("seg", write_dicom_seg), ("structures", write_rtstruct), ("nifti", None)):
        image = save(tmp_path / "imagesTr" / case, slices(a_scan(), series=case))
        label = tmp_path / "labelsTr" / f"{case}{'.dcm' if write else '.nii.gz'}"
        label.parent.mkdir(exist_ok=True)
        if write:
            write(label, labels, NAMES, scan_frames(image, Reading()))
        else:
            write_label_map(label, labels, range(3), like=image)
        entries.append({"image": f"imagesTr/{case}", "label": f"labelsTr/{label.name}"})
    named = {str(value): name for value, name in enumerate(NAMES)}
    facts = {"modality": {"0": "CT"}, "labels": named, "training": entries}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    found = label_volumes(Cache(tmp_path / "cache", read_task(tmp_path), workers=1))
    voxel_mm3 = 2 * 2 * 4
    assert found == {
        case: pytest.approx([4 * 4 * 4 * voxel_mm3, voxel_mm3]) for case in ("seg", "structures", "nifti")
    }
