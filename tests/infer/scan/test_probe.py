"""A probe finds what all probabilities hold at its voxels, in every orientation and in any pieces."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.core.types import Size
from app.data.prepare.geometry import plan_geometry
from app.data.prepare.prepare import Prepared
from app.infer.scan.probe import Probe
from app.infer.scan.restore import Restorer
from app.infer.scan.segmentation import Arrays
from tests.support.volumes import in_orientation


@pytest.mark.parametrize("codes", ["SAR", "LPI", "ARS", "RIP"])
def test_a_probe_finds_the_probabilities_of_its_voxels(codes: str) -> None:
    full: Size = (9, 8, 7)
    voxels, affine = in_orientation(np.ones(full, dtype=np.float32), (1.0, 1.0, 1.0), codes)
    planned = plan_geometry(voxels[None], affine, None)
    geometry = replace(planned, start=(1, 0, 2), stop=(8, 8, 7), resampled=(5, 6, 7))
    logits = torch.randn(3, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    drawn = np.random.default_rng(0).permutation(full[0] * full[1] * full[2])[:200]
    chosen = np.stack(np.unravel_index(drawn, geometry.scan), axis=1)
    probe = Probe(chosen, 3)
    arrays = Arrays(
        np.zeros(geometry.scan, dtype=np.uint8), np.zeros((3, *geometry.scan), dtype=np.float32), probe=probe
    )
    canvases = arrays.canvases(Prepared(np.zeros((1, 5, 6, 7), np.float32), None, geometry))
    for part in (range(0, 3), range(3, 8)):
        restorer = Restorer(geometry, canvases, part)
        for first in (0, 2, 4):
            restorer.add(
                logits[:, first : first + 2, restorer.network_rows.start : restorer.network_rows.stop]
            )
    assert arrays.probabilities is not None
    wanted = arrays.probabilities[:, chosen[:, 0], chosen[:, 1], chosen[:, 2]].T
    np.testing.assert_allclose(probe.probabilities, wanted, atol=1e-6)
    outside = wanted[:, 0] == 1
    assert 0 < outside.sum() < len(chosen)
