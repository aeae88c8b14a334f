"""From a prepared scan to what is known of it: labels, probabilities, entropy, confidence and times."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.plan import Plan
from app.core.types import Labels, as_size
from app.data.prepare.geometry import Geometry, network_view
from app.data.prepare.prepare import Prepared
from app.infer.engines.engine import Engine
from app.infer.scan.clock import Clock
from app.infer.scan.memory import cut_rows, free_gb, pass_bytes
from app.infer.scan.probe import Probe
from app.infer.scan.restore import Canvas, Painted, Restorer, rows_needed
from app.infer.window.confidence import Agreement, SoftDice
from app.infer.window.decode import entropy_of, labels_of, probabilities_of
from app.infer.window.empty import is_air
from app.infer.window.sliding import SlidingSettings, average_of, fit_windows, stream_logits
from app.infer.window.windows import Windows


@dataclass(frozen=True)
class Arrays:
    """Where results go, on the scan's own grid; what is None is not computed.

    `labels` (i, j, k) are classes, `entropy` (i, j, k) in bits, `probabilities` (L, i, j, k); they may be
    mapped files.
    """

    labels: Labels
    probabilities: NDArray[np.float32] | None = None
    entropy: NDArray[np.float32] | None = None
    probe: Probe | None = None

    @property
    def bytes(self) -> int:
        """Memory of all of them."""
        return sum(array.nbytes for array in self._all() if array is not None)

    def canvases(self, prepared: Prepared) -> list[Painted]:
        """Views of the arrays inside the crop, in the network's axis order, to paint."""
        geometry = prepared.geometry
        canvases: list[Painted] = [Canvas(network_view(self.labels[None], geometry)[0], labels_of)]
        if self.probabilities is not None:
            self.probabilities[0] = 1  # outside the crop it is background
            canvases.append(Canvas(network_view(self.probabilities, geometry), probabilities_of))
        if self.entropy is not None:
            canvases.append(Canvas(network_view(self.entropy[None], geometry)[0], entropy_of))
        if self.probe is not None:
            canvases.append(self.probe.canvas(geometry))
        return canvases

    def _all(self) -> tuple[NDArray[np.generic] | None, ...]:
        return self.labels, self.probabilities, self.entropy


@dataclass(frozen=True)
class Segmentation:
    """What is known of a scan.

    Confidence by label name, from 0 to 1, None where the label is not predicted; `agreement` is None
    altogether where a single pass had nobody to agree with. Seconds by step.
    """

    arrays: Arrays
    geometry: Geometry
    """Which part of the scan the networks saw."""
    soft_dice: dict[str, float | None]
    agreement: dict[str, float | None] | None
    seconds: dict[str, float]


def segment(
    prepared: Prepared,
    arrays: Arrays,
    members: Sequence[Engine],
    *,
    plans: Sequence[Plan],
    labels: Sequence[str],
    sliding: SlidingSettings,
    memory_gb: float | None,
) -> Segmentation:
    """Run every window once, painting `arrays` as slices finish; a scan that shows nothing is background.

    Raises:
        InputError: it does not fit under the memory limit.
    """
    if prepared.empty:
        arrays.canvases(prepared)  # background, and its probability 1
        nothing = dict.fromkeys(labels[1:])
        return Segmentation(arrays, prepared.geometry, nothing, None, {})
    image = torch.from_numpy(prepared.image)
    windows = fit_windows(as_size(image.shape[1:]), plans, sliding)
    agreement, soft_dice = Agreement(len(labels)), SoftDice(len(labels))
    average = average_of(members, sliding, windows, plans[0], agreement)
    skip = partial(is_air, channels=plans[0].normalisation) if sliding.skip_air else None
    canvases, clock = arrays.canvases(prepared), Clock()
    fixed = arrays.bytes + pass_bytes(windows, plans, classes=len(labels))
    for columns in _parts(prepared.geometry, windows, len(labels), fixed=fixed, memory_gb=memory_gb):
        restorer = Restorer(prepared.geometry, canvases, columns)
        slices = stream_logits(average, image, windows, rows=restorer.rows, skip=skip)
        for finished in clock.timed("network", slices):
            with clock.step("restore"):
                restorer.add(finished)
            with clock.step("confidence"):
                soft_dice.add(finished)
    return Segmentation(
        arrays=arrays,
        geometry=prepared.geometry,
        soft_dice=_foreground(labels, soft_dice.dice()),
        agreement=_foreground(labels, agreement.dice()) if agreement.counted else None,
        seconds=clock.seconds,
    )


def _parts(
    geometry: Geometry, windows: Windows, classes: int, *, fixed: int, memory_gb: float | None
) -> list[range]:
    """The rows of H, on the scan's grid, that are gone through one part after another.

    Without a limit set, what this machine has free is the limit, which refuses nothing.
    """
    height, needs = geometry.cropped[1], partial(rows_needed, geometry)
    limit_gb = free_gb() if memory_gb is None else memory_gb
    try:
        return cut_rows(height, needs, windows, classes=classes, fixed=fixed, limit_gb=limit_gb)
    except InputError:
        if memory_gb is not None:
            raise
        return [range(height)]  # foretold generously: it may do all the same


def _foreground(labels: Sequence[str], values: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip(labels[1:], values[1:], strict=True))
