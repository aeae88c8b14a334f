from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import MakeTask
from test_geometry import ORIENTATIONS, in_orientation
from training import SLIDING, make_bench

from app.core.errors import InputError
from app.infer.predict import list_scans, predict_scans
from app.infer.segmenter import Segmenter
from app.models.checkpoint import write_checkpoint


@pytest.fixture
def segmenter(make_task: MakeTask, tmp_path: Path) -> Segmenter:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    return Segmenter.load(tmp_path / "run", sliding=SLIDING, device=torch.device("cpu"))


def test_a_bad_scan_does_not_stop_the_rest(segmenter: Segmenter, make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=3) / "imagesTr"
    (folder / "blob_002.nii.gz").write_bytes(b"broken")
    (folder / "._blob_001.nii.gz").write_bytes(b"AppleDouble")
    done = predict_scans(segmenter, list_scans(folder), tmp_path / "out", overwrite=False)
    assert [path.name for path in done.written] == ["blob_001.nii.gz", "blob_003.nii.gz"]
    assert list(done.failed) == [folder / "blob_002.nii.gz"]
    again = predict_scans(segmenter, list_scans(folder), tmp_path / "out", overwrite=False)
    assert len(again.kept) == 2 and not again.written
    for name in ("blob_001.nii.gz", "blob_003.nii.gz"):
        scan, mask = nib.load(folder / name), nib.load(tmp_path / "out" / name)
        assert mask.shape == scan.shape and mask.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(mask.affine, scan.affine)


@pytest.mark.parametrize("codes", ORIENTATIONS[::7])
def test_the_mask_does_not_depend_on_how_the_scan_is_stored(
    segmenter: Segmenter, tmp_path: Path, codes: str
) -> None:
    image = np.random.default_rng(0).normal(size=(17, 21, 16)).astype(np.float32)
    masks = []
    for orientation in ("SAR", codes):
        voxels, affine = in_orientation(image, (1.2, 0.9, 1.0), orientation)
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "scan.nii.gz")
        masks.append((segmenter.segment_file(tmp_path / "scan.nii.gz"), orientation))
    canonical = in_orientation(masks[0][0].astype(np.float32), (1.2, 0.9, 1.0), codes)[0]
    np.testing.assert_array_equal(masks[1][0], canonical)


def test_wrong_input_is_named(segmenter: Segmenter, make_task: MakeTask, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        list_scans(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="got no scan"):
        list_scans(tmp_path / "empty")
    two = make_task(cases=1, channels=2, name="Task91_Two") / "imagesTr" / "blob_001.nii.gz"
    with pytest.raises(InputError, match=r"got 2 channels, wanted 1 \(MRI\)"):
        segmenter.segment_file(two)
    with pytest.raises(InputError, match="wanted last or best"):
        Segmenter.load(tmp_path, sliding=SLIDING, device=torch.device("cpu"), weights="first")


def test_a_scan_is_never_overwritten_by_its_mask(segmenter: Segmenter, make_task: MakeTask) -> None:
    scan = make_task(cases=1) / "imagesTr" / "blob_001.nii.gz"
    with pytest.raises(InputError, match="would both be"):
        predict_scans(segmenter, [scan], scan.parent, overwrite=True)
