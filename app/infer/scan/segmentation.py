"""Segmenting a prepared scan: labels, probabilities, entropy, confidence and times."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.core.errors import InputError
from app.core.plan import Plan
from app.core.types import Labels, as_size
from app.data.prepare.geometry import Geometry, network_view
from app.data.prepare.prepare import Prepared
from app.infer.engines.engine import Engine, device_of
from app.infer.engines.interleaved import stacks_of
from app.infer.scan.clock import Clock
from app.infer.scan.memory import cut_rows, free_gb, gpu_free_gb, pass_bytes
from app.infer.scan.probe import Probe
from app.infer.scan.restore import Canvas, Painted, Restorer, network_rows
from app.infer.window.confidence import Agreement, SoftDice
from app.infer.window.decode import entropy_of, most_probable_labels, probabilities_of
from app.infer.window.empty import is_air
from app.infer.window.sliding import SlidingSettings, average_of, fit_windows, stream_logits
from app.infer.window.windows import Windows
from app.layers.out_of_memory import ERRORS, free_unused, is_out_of_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arrays:
    """The arrays for results, on the scan's own grid; results whose array is None are not computed.

    `labels` (i, j, k) are classes, `probabilities` are (L, i, j, k) and `entropy` is (i, j, k), in bits.
    Arrays may be mapped files.
    """

    labels: Labels
    probabilities: NDArray[np.float32] | None = None
    entropy: NDArray[np.float32] | None = None
    probe: Probe | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._all() if array is not None)

    def canvases(self, prepared: Prepared) -> list[Painted]:
        """Return views of the arrays inside the crop, in the network's axis order, as canvases to paint."""
        geometry = prepared.geometry
        canvases: list[Painted] = [Canvas(network_view(self.labels[None], geometry)[0], most_probable_labels)]
        if self.probabilities is not None:
            self.probabilities[0] = 1  # voxels outside the crop are background
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
    """The result of segmenting a scan.

    `soft_dice` and `agreement` are by label name, from 0 to 1, and None for labels that are not predicted. If
    there was a single pass, there is no agreement, and `agreement` itself is None. `seconds` are by kind of
    work.
    """

    arrays: Arrays
    geometry: Geometry
    """Geometry of the part of the scan that the networks saw."""
    soft_dice: dict[str, float | None]
    agreement: dict[str, float | None] | None
    seconds: dict[str, float]
    dropped: str = ""
    """A sentence on foreground that was dropped because it lies far from the rest; empty if none was."""


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
    """Run every window, filling `arrays` as slices are finished; a constant scan becomes background.

    If memory runs out, the scan is segmented again with fewer or smaller windows per pass, down to single
    windows of the patch's size, and then in more parts.

    Raises:
        InputError: the scan does not fit under the memory limit, or into memory.
    """
    if prepared.empty:
        arrays.canvases(prepared)  # sets the probability of background to 1
        nothing = dict.fromkeys(labels[1:])
        return Segmentation(arrays, prepared.geometry, nothing, None, {})
    parts = 1
    while True:
        windows = fit_windows(as_size(prepared.image.shape[1:]), plans, sliding)
        run = _Run(windows, tuple(members), plans, tuple(labels), sliding, memory_gb, parts)
        try:
            return run.segment(prepared, arrays)
        except ERRORS as error:
            if not is_out_of_memory(error):
                raise
            if sliding.windows == 1 and parts >= len(windows.starts[1]):
                raise InputError(_too_large(windows, device_of(members[0]))) from None
        if sliding.windows > 1:
            sliding = replace(sliding, windows=sliding.windows // 2)
        else:
            parts *= 2
        free_unused()
        log.warning(
            "out of memory; trying again with %d windows at once, in %d parts", sliding.windows, parts
        )


def _too_large(windows: Windows, device: torch.device) -> str:
    size = "x".join(map(str, windows.size))
    return (
        f"out of memory on {device} with single windows of {size} voxels; free memory on "
        "it, set device=cpu, or train with a smaller plan.patch"
    )


@dataclass(frozen=True)
class _Run:
    """One attempt at segmenting a scan."""

    windows: Windows
    members: tuple[Engine, ...]
    plans: Sequence[Plan]
    labels: tuple[str, ...]
    sliding: SlidingSettings
    memory_gb: float | None
    parts: int
    """Smallest number of parts that the scan is cut into."""

    def segment(self, prepared: Prepared, arrays: Arrays) -> Segmentation:
        """Fill `arrays` and return the result."""
        labels, windows = self.labels, self.windows
        image = torch.from_numpy(prepared.image)
        agreement, soft_dice = Agreement(len(labels)), SoftDice(len(labels))
        average = average_of(self.members, self.sliding, windows, self.plans[0], agreement)
        skip = partial(is_air, channels=self.plans[0].normalisation) if self.sliding.skip_air else None
        canvases, clock = arrays.canvases(prepared), Clock()
        for scan_rows in self._parts(prepared.geometry, arrays):
            restorer = Restorer(prepared.geometry, canvases, scan_rows)
            slices = stream_logits(average, image, windows, rows=restorer.network_rows, skip=skip)
            for finished in clock.timed("network", slices):
                with clock.step("restore"):
                    restorer.add(finished)
                with clock.step("confidence"):
                    soft_dice.add(finished)
            del finished  # a view of the logits of this part: the next part must not be held beside them
        return Segmentation(
            arrays=arrays,
            geometry=prepared.geometry,
            soft_dice=_foreground(labels, soft_dice.dice()),
            agreement=_foreground(labels, agreement.dice()) if agreement.counted else None,
            seconds=clock.seconds,
        )

    def _parts(self, geometry: Geometry, arrays: Arrays) -> list[range]:
        """Return the parts of H, on the scan's grid, that are processed one after the other.

        If no limit is set, the limit is the free memory; a scan that is too large is then not refused but cut
        into as many parts as there are rows of windows. `predict.memory_gb` does not apply to a GPU's memory.
        """
        device, height = device_of(self.members[0]), geometry.cropped[1]
        on_gpu = device.type == "cuda"
        stacks = stacks_of(self.members[0])
        fixed = pass_bytes(self.windows, self.plans, classes=len(self.labels), stacks=stacks)
        return cut_rows(
            height,
            partial(network_rows, geometry),
            self.windows,
            classes=len(self.labels),
            fixed=fixed if on_gpu else fixed + arrays.bytes,
            limit_gb=None if on_gpu else self.memory_gb,
            free_gb=gpu_free_gb(device) if on_gpu else free_gb(),
            least=self.parts,
        )


def _foreground(labels: Sequence[str], values: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip(labels[1:], values[1:], strict=True))
