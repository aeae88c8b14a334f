"""Small sound files of every format, each with the damage that a fuzz test does to its header."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from app.io.itk import as_itk
from tests.support.mutate import Mutate, deflated, of_dicom, of_header, of_json, of_text, packed

SIZE, NAMES = (12, 10, 8), ("background", "a", "b")
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2, 0, 28], [0, 0, 4, -20], [0, 0, 0, 1]])
NIFTI_HEADER = 352


@dataclass(frozen=True)
class Sound:
    """Files by name in one folder; `entry` is the scan, the label map or the data set."""

    name: str
    role: str
    """scan, labels or set"""
    files: Mapping[str, bytes]
    entry: str
    damage: Mapping[str, Mutate]
    """What may be done to which files."""

    @property
    def bytes(self) -> int:
        """What the voxels of all files take, decompressed, or the files if that is more."""
        scans = 2 if self.role == "set" else 1
        return max(sum(map(len, self.files.values())), scans * 4 * int(np.prod(SIZE)))

    def write(self, folder: Path, files: Mapping[str, bytes]) -> Path:
        """Write files in place of the sound ones; return the path of `entry`."""
        for name, content in {**self.files, **files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / self.entry


def sound_files(folder: Path) -> list[Sound]:
    """Write and collect one of each kind; those of DICOM if its libraries are there."""
    found = [*_nifti(folder / "nifti"), *_itk(folder / "itk"), _set(), *_nnunet()]
    if find_spec("pydicom") and find_spec("highdicom"):
        found += _dicom(folder / "dicom")
    return found


def a_scan() -> np.ndarray:
    """Values (i, j, k) that are zero at the border and noise inside."""
    scan = np.zeros(SIZE, dtype=np.int16)
    scan[2:-2, 2:-2, 1:-1] = np.random.default_rng(0).integers(-900, 1200, (8, 6, 6))
    return scan


def a_label_map() -> np.ndarray:
    """Three classes in two boxes."""
    labels = np.zeros(SIZE, dtype=np.uint8)
    labels[3:6, 3:6, 2:5], labels[6:9, 4:7, 3:6] = 1, 2
    return labels


def _nifti(folder: Path) -> Iterator[Sound]:
    folder.mkdir(parents=True)
    image = nib.Nifti1Image(a_scan(), AFFINE)
    image.header.set_slope_inter(1, 0)
    image.set_qform(AFFINE, code=1)
    head = of_header(NIFTI_HEADER)
    for name, kind in (("a.nii", head), ("b.nii.gz", packed(head))):
        nib.save(image, folder / name)
        yield Sound(name, "scan", {name: (folder / name).read_bytes()}, name, {name: kind})
    nib.save(nib.Nifti2Image(a_scan(), AFFINE), folder / "c.nii.gz")
    content = (folder / "c.nii.gz").read_bytes()
    yield Sound("nifti-2", "scan", {"c.nii.gz": content}, "c.nii.gz", {"c.nii.gz": packed(of_header(544))})
    nib.save(nib.Nifti1Pair(a_scan(), AFFINE), folder / "d.img")
    both = {name: (folder / name).read_bytes() for name in ("d.hdr", "d.img")}
    yield Sound("pair", "scan", both, "d.img", {"d.hdr": head, "d.img": of_header(99)})
    nib.save(nib.Nifti1Image(a_label_map(), AFFINE), folder / "e.nii.gz")
    content = (folder / "e.nii.gz").read_bytes()
    yield Sound("label map", "labels", {"e.nii.gz": content}, "e.nii.gz", {"e.nii.gz": packed(head)})


def _itk(folder: Path) -> Iterator[Sound]:
    folder.mkdir(parents=True)
    image = as_itk(a_scan(), AFFINE)
    for name, voxels in (("a.nrrd", ""), ("a.nhdr", "a.raw"), ("a.mha", ""), ("a.mhd", "a.raw")):
        mark = b"\n\n" if name.startswith("a.n") else b"LOCAL\n" if not voxels else b"a.raw\n"
        for compress in (False, True):
            sitk.WriteImage(image, str(folder / name), useCompression=compress)
            names = [name] + [
                other for other in ("a.raw", "a.raw.gz", "a.zraw") if voxels and (folder / other).exists()
            ]
            files = {each: (folder / each).read_bytes() for each in names}
            yield Sound(
                f"{name}{' compressed' if compress else ''}", "scan", files, name, {name: of_text(mark)}
            )
            for each in names:
                (folder / each).unlink()


def _cases(ending: str) -> dict[str, bytes]:
    """Scans and label maps of the cases b and c by name; names of scans end with `ending`."""
    files = {}
    for number, case in enumerate("bc", start=1):
        for name, voxels in (
            (f"imagesTr/{case}{ending}", a_scan() + number),
            (f"labelsTr/{case}", a_label_map()),
        ):
            files[f"{name}.nii.gz"] = gzip.compress(nib.Nifti1Image(voxels, AFFINE).to_bytes(), mtime=0)
    return files


def _nnunet() -> Iterator[Sound]:
    whole = {"background": 0, "a": 1, "b": 2}
    regions = {"background": 0, "whole": [1, 2], "b": [2], "ignore": 3}
    for name, labels in (("labels", whole), ("regions", regions)):
        facts = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz", "numTraining": 2}
        facts |= {"regions_class_order": [1, 2]} if labels is regions else {}
        files = {**_cases("_0000"), "dataset.json": json.dumps(facts).encode()}
        yield Sound(f"nnU-Net's {name}", "set", files, ".", {"dataset.json": of_json})


def _set() -> Sound:
    files = _cases("")
    files["imagesTr/a.nii.gz"] = files["imagesTr/b.nii.gz"]
    facts = {
        "name": "Task",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "a", "2": "b"},
        "numTraining": 2,
        "training": [
            {
                "image": f"./imagesTr/{name}.nii.gz",
                "label": f"./labelsTr/{name}.nii.gz",
                "annotated": ["a", "b"],
            }
            for name in "bc"
        ],
    }
    files["dataset.json"] = json.dumps(facts).encode()
    return Sound("dataset.json", "set", files, ".", {"dataset.json": of_json})


def _dicom(folder: Path) -> Iterator[Sound]:
    from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless

    from app.core.reading import Reading
    from app.infer.batch.dicom_seg import write_dicom_seg
    from app.infer.batch.dicom_sources import scan_frames
    from app.infer.batch.rtstruct import write_rtstruct
    from tests.support.dicom import enhanced, save, slices

    made = {
        "slices": (slices(a_scan(), AFFINE), None),
        "MONOCHROME1": (slices(a_scan(), AFFINE, photometric="MONOCHROME1"), RLELossless),
        "jpeg": (slices(a_scan(), AFFINE), JPEGLosslessSV1),
        "deflated": (slices(a_scan(), AFFINE), DeflatedExplicitVRLittleEndian),
        "enhanced": ([enhanced(slices(a_scan(), AFFINE), [3, 1, 0, 2, 7, 5, 6, 4])], None),
    }
    for name, (data, syntax) in made.items():
        series = save(folder / name, data, syntax=syntax)
        files = {f"s/{path.name}": path.read_bytes() for path in sorted(series.iterdir())}
        kind = deflated(of_dicom) if name == "deflated" else of_dicom
        yield Sound(f"DICOM {name}", "scan", files, "s", dict.fromkeys(files, kind))
    frames = scan_frames(folder / "slices", Reading())
    for name, writer in (("segmentation", write_dicom_seg), ("structure set", write_rtstruct)):
        writer(folder / "labels.dcm", a_label_map(), NAMES, frames)
        content = (folder / "labels.dcm").read_bytes()
        yield Sound(f"DICOM {name}", "labels", {"l.dcm": content}, "l.dcm", {"l.dcm": of_dicom})
