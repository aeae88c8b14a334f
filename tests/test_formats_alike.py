"""One small data set as NIfTI, NRRD, MetaImage and DICOM in three forms trains and predicts alike."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

from app import RunFolder, run  # noqa: E402
from app.core.reading import Reading  # noqa: E402
from app.data.prepare.prepare import read_case  # noqa: E402
from app.data.sets.decathlon import read_task  # noqa: E402
from app.infer.batch.dicom_seg import write_dicom_seg  # noqa: E402
from app.infer.batch.dicom_sources import scan_frames  # noqa: E402
from app.infer.batch.rtstruct import write_rtstruct  # noqa: E402
from app.io.itk import as_itk  # noqa: E402
from app.models.checkpoint import read_checkpoint  # noqa: E402
from tests.support.dicom import TO_MM, enhanced, save, slices  # noqa: E402
from tests.support.volumes import draw_blob  # noqa: E402

pytestmark = pytest.mark.e2e

SIZE, CASES, NAMES = (24, 22, 18), 3, ("background", "Gefäß")
FORMATS = ("nii.gz", "nrrd", "mha", "plain", "compressed", "enhanced")
TRAINED = FORMATS


def case(number: int) -> tuple[np.ndarray, np.ndarray]:
    scan, labels = draw_blob(SIZE, 1, number)
    labels[12, 11, 9] = 0  # a hole
    return (10 * scan).round().astype(np.int16), labels


def write(folder: Path, kind: str, number: int, name: str) -> tuple[Path, Path]:
    """A case in one format; labels of DICOM are a segmentation or a structure set."""
    scan, labels = case(number)
    image, label = folder / "imagesTr" / name, folder / "labelsTr" / name
    for path in (image.parent, label.parent):
        path.mkdir(parents=True, exist_ok=True)
    if kind in ("nii.gz", "nrrd", "mha"):
        for path, voxels in ((image, scan), (label, labels)):
            file = path.with_name(f"{path.name}.{kind}")
            if kind == "nii.gz":
                nib.save(nib.Nifti1Image(voxels, TO_MM), file)
            else:
                sitk.WriteImage(as_itk(voxels, TO_MM), str(file), useCompression=True)
        return image.with_name(f"{image.name}.{kind}"), label.with_name(f"{label.name}.{kind}")
    made = slices(scan, TO_MM, series=f"{kind}{number}", modality="MR")
    order = np.random.default_rng(0).permutation(SIZE[2]).tolist()
    if kind == "enhanced":
        save(image, [enhanced(made, order)], suffix="")
    else:
        syntax = "1.2.840.10008.1.2.5" if kind == "compressed" else None
        save(image, [made[k] for k in order], syntax=syntax)
    target = label.with_name(f"{label.name}.dcm")
    writer = write_rtstruct if kind == "compressed" else write_dicom_seg
    writer(target, labels, NAMES, scan_frames(image, Reading()))
    return image, target


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind in FORMATS:
        folder = folders[kind] = tmp_path_factory.mktemp("data") / f"Task_{kind.replace('.', '_')}"
        pairs = [write(folder, kind, number, f"case_{number}") for number in range(CASES)]
        facts = {
            "modality": {"0": "MR"},
            "labels": {str(value): name for value, name in enumerate(NAMES)},
            "training": [
                {
                    "image": image.relative_to(folder).as_posix(),
                    "label": label.relative_to(folder).as_posix(),
                }
                for image, label in pairs
            ],
        }
        (folder / "dataset.json").write_text(json.dumps(facts))
    return folders


def test_every_format_holds_the_same_cases(sets: dict[str, Path]) -> None:
    for folder in sets.values():
        task = read_task(folder)
        for number, listed in enumerate(task.cases):
            volume, label_map = read_case(listed, task)
            np.testing.assert_array_equal(volume.voxels[0], case(number)[0])
            np.testing.assert_array_equal(label_map.voxels, case(number)[1])
            np.testing.assert_allclose(volume.affine, TO_MM, atol=1e-5)


def train(folder: Path, target: Path) -> RunFolder:
    words = (
        "train=smoke",
        "folds=3",
        "train.steps=10",
        "plan.base_width=8",
        "threads=1",
    )
    place = (
        f"task.folder={folder}",
        f"paths.run={target}",
        f"paths.cache={target}.cache",
    )
    return run("task=decathlon", *place, *words)


@pytest.fixture(scope="module")
def runs(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    folder = tmp_path_factory.mktemp("runs")
    return {kind: train(sets[kind], folder / kind) for kind in TRAINED}


@pytest.mark.slow
def test_every_format_trains_the_same_network(runs: dict[str, RunFolder]) -> None:
    assert len({read_checkpoint(each.checkpoint).digest for each in runs.values()}) == 1


def by_nibabel(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def by_simpleitk(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)


def by_pydicom(path: Path) -> np.ndarray:
    """Frames of a segmentation of one label, put where their positions say."""
    data = pydicom.dcmread(path)
    mask = np.zeros(SIZE, dtype=np.uint8)
    pixels = data.pixel_array.reshape(-1, SIZE[1], SIZE[0])
    for groups, frame in zip(data.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        z = float(groups.PlanePositionSequence[0].ImagePositionPatient[2])
        mask[:, :, round((z + 20) / 4)] = frame.T
    return mask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "read"),
    [("nii.gz", by_nibabel), ("mha", by_simpleitk), ("dicom", by_pydicom)],
)
def test_every_format_is_segmented_alike(
    runs: dict[str, RunFolder],
    tmp_path: Path,
    wanted: str,
    read: Callable[[Path], np.ndarray],
) -> None:
    kinds = FORMATS[3:] if wanted == "dicom" else FORMATS
    scans = [write(tmp_path, kind, 0, f"of_{kind}")[0] for kind in kinds]
    expected = runs["nii.gz"].segmenter()(scans[0])
    assert 0 < np.count_nonzero(expected) < expected.size
    done = run(
        "mode=predict",
        f"predict.model={runs['enhanced'].path}",
        f"predict.input={tmp_path / 'imagesTr'}",
        f"predict.output={tmp_path / 'out'}",
        f"predict.format={wanted}",
        "threads=1",
    )
    assert set(done.predictions) == {f"of_{kind}" for kind in kinds}
    for path in done.predictions.values():
        np.testing.assert_array_equal(read(path), expected)
