"""Sliding windows: a network over a volume larger than its patch, in overlapping windows, layer by layer.

Only the logits that later windows still add to are kept, which are as many slices as a window has. Finished
slices are yielded and then overwritten, so memory does not grow with the length of a scan.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.plan import Plan
from app.core.types import Size, as_size
from app.infer.engines.eager import EagerEngine
from app.infer.engines.engine import Engine
from app.infer.window.average import Average
from app.infer.window.confidence import Agreement
from app.infer.window.decode import background_logits, most_probable_labels
from app.infer.window.windows import Windows, lay_windows

STRETCH = 1.25  # largest window per axis, in patches; in longer ones the statistics of norms differ too much
_APART = 1040  # values between classes, a page and a cache line: powers of two would share places in caches


@dataclass(frozen=True)
class SlidingSettings:
    """The settings of sliding windows: layout, averaging, windows left out, and decoding."""

    overlap: float
    """Share of a window that its neighbour covers too."""
    windows: int
    """Patches per forward pass; fewer windows if they are longer than the patch."""
    mirror_axes: tuple[int, ...]
    """Axes of (D, H, W) to mirror; predictions are averaged over all combinations of these."""
    alternate: bool = False
    """Whether each window is seen in one mirror image only.

    Overlapping windows then take different images in turn. If a scan has one window, it is seen in all
    images.
    """
    certain: float | None = None
    """Probability that ends averaging early.

    If every voxel of a window has a label of at least this probability in the first image, no other is used.
    """
    skip_air: bool = False
    """Whether windows without tissue are left out, by the rule in app.infer.window.empty."""
    decode: str = "argmax"
    """argmax for the most probable label of each voxel; dice for labels with the highest expected Dice."""
    stretch: float = STRETCH
    """Largest window per axis, in multiples of the patch; 1 for networks made for one size."""

    def __post_init__(self) -> None:
        """Validate values."""
        if not 0 <= self.overlap < 1:
            raise InputError(f"sliding.overlap: got {self.overlap}, wanted from 0 to below 1")
        if self.windows < 1:
            raise InputError(f"sliding.windows: got {self.windows}, wanted at least 1")
        if not set(self.mirror_axes) <= {0, 1, 2}:
            raise InputError(f"sliding.mirror_axes: got {list(self.mirror_axes)}, wanted axes among 0, 1, 2")
        if self.decode not in ("argmax", "dice"):
            raise InputError(f"sliding.decode: got {self.decode!r}, wanted argmax or dice")
        if self.certain is not None and not 0.5 <= self.certain < 1:
            raise InputError(f"sliding.certain: got {self.certain}, wanted null or from 0.5 to below 1")

    def suited(self, *, fits_other_sizes: bool) -> "SlidingSettings":
        """Return these settings, with windows of the patch's size if the network takes no other size."""
        return self if fits_other_sizes else replace(self, stretch=1.0)

    def check_mirrors(self, flipped: Sequence[int]) -> None:
        """Raise InputError if an axis is mirrored that training did not flip."""
        if not set(self.mirror_axes) <= set(flipped):
            raise InputError(
                f"sliding.mirror_axes: got {list(self.mirror_axes)}, wanted axes among {list(flipped)}: "
                "those that training flipped (augment.flip_axes)"
            )


def sliding_logits(network: nn.Module, image: Tensor, plan: Plan, settings: SlidingSettings) -> Tensor:
    """Return the logits (L, D, H, W) of a whole volume (C, D, H, W), which must fit into memory."""
    windows = fit_windows(as_size(image.shape[1:]), [plan], settings)
    slices = stream_logits(average_of([EagerEngine(network)], settings, windows, plan), image, windows)
    return torch.cat([finished.clone() for finished in slices], dim=1)


def sliding_labels(
    network: nn.Module,
    image: Tensor,
    plan: Plan,
    settings: SlidingSettings,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Return the classes (D, H, W) of a volume (C, D, H, W), on the CPU, without keeping all logits."""
    windows = fit_windows(as_size(image.shape[1:]), [plan], settings)
    average = average_of([EagerEngine(network, precision)], settings, windows, plan)
    slices = stream_logits(average, image, windows)
    return torch.cat([most_probable_labels(finished).cpu() for finished in slices])


def average_of(
    members: Sequence[Engine],
    settings: SlidingSettings,
    windows: Windows,
    plan: Plan,
    agreement: Agreement | None = None,
) -> Average:
    """Return the networks as one, with the mirror images that the settings choose for these windows."""
    return Average(
        members,
        mirror_axes=settings.mirror_axes,
        swapped=plan.swapped,
        alternate=settings.alternate and len(windows.places) > 1,
        certain=settings.certain,
        agreement=agreement,
    )


@torch.inference_mode()
def stream_logits(
    average: Average,
    image: Tensor,
    windows: Windows,
    *,
    rows: range | None = None,
    skip: Callable[[Tensor], bool] | None = None,
) -> Iterator[Tensor]:
    """Yield the logits of an image (C, D, H, W) in pieces (L, d, len(rows), W) of d finished slices.

    `rows` is the range of H to compute, by default all; only windows that overlap it run. Windows for which
    `skip` returns true do not run; voxels that no window covers become background. If `average` measures
    agreement, overlapping windows are compared with those before them. A piece is valid until the next one is
    requested.
    """
    padded = _pad(image, windows)
    (before, _), (above, _), (left, _) = windows.padding
    rows = rows or range(windows.volume[1])
    belt = _Belt(windows, range(rows.start + above, rows.stop + above), padded.shape[3], average.agreement)
    starts, depth = windows.starts[0], windows.size[0]
    for layer, (start, following) in enumerate(zip(starts, (*starts[1:], starts[-1] + depth), strict=True)):
        _run_layer(average, padded, layer, windows, belt, skip=skip)
        finished = belt.finish(following - start)
        first, stop = max(before - start, 0), before + windows.volume[0] - start
        yield finished[:, first:stop, :, left : left + windows.volume[2]]
        belt.advance(following - start)


def fit_windows(volume: Size, plans: Sequence[Plan], settings: SlidingSettings) -> Windows:
    """Return the windows that compute the fewest voxels, of the patch's size or somewhat longer per axis.

    A forward pass holds no more voxels than `settings.windows` patches. All `plans` have the same patch; the
    size of windows is the patch plus multiples of every plan's total stride.
    """
    patch = plans[0].patch
    multiples = [math.lcm(*(plan.total_stride[axis] for plan in plans)) for axis in range(3)]
    lengths = [
        range(n, int(settings.stretch * n) + 1, step) for n, step in zip(patch, multiples, strict=True)
    ]
    most = settings.windows * math.prod(patch)
    return min(
        (
            lay_windows(volume, as_size(size), settings.overlap, at_once=most // math.prod(size))
            for size in product(*lengths)
            if math.prod(size) <= most
        ),
        key=lambda windows: (windows.voxels, math.prod(windows.size)),
    )


class _Belt:
    """The weighted sums of logits over the slices of one layer of windows; it moves from layer to layer."""

    def __init__(self, windows: Windows, rows: range, width: int, agreement: Agreement | None) -> None:
        self._weights = windows.weights()
        self._first, self._stop = rows.start, rows.stop
        self._sums: Tensor | None = None
        self._counts = torch.zeros(windows.size[0], len(rows), width)
        self._agreement = agreement

    @property
    def is_empty(self) -> bool:
        """Whether no logits were added yet, so that the number of classes is unknown."""
        return self._sums is None

    def touches(self, row: int, height: int) -> bool:
        """Return whether a window of `height` rows from `row` on covers any of the wanted rows."""
        return row < self._stop and row + height > self._first

    def add(self, logits: Tensor, row: int, column: int) -> None:
        """Add the logits (L, d, h, w) of a window that begins at `row` of H and `column` of W."""
        if self._sums is None:
            self._weights = self._weights.to(logits.device)
            self._counts = self._counts.to(logits.device)
            values = self._counts.numel()
            padded = logits.new_zeros(logits.shape[0], values + _APART)
            self._sums = padded[:, :values].view(logits.shape[0], *self._counts.shape)
        low, high = max(row, self._first), min(row + logits.shape[2], self._stop)
        inside, columns = slice(low - row, high - row), slice(column, column + logits.shape[3])
        place = (slice(None), slice(low - self._first, high - self._first), columns)
        weights, logits = self._weights[:, inside], logits[:, :, inside]
        sums, counts = self._sums[(slice(None), *place)], self._counts[place]
        if self._agreement is not None:
            some = (..., slice(None, None, 2), slice(None, None, 2), slice(None))  # a quarter, to save time
            self._agreement.compare(logits[some], sums[some], where=counts[some] > 0)
        sums.addcmul_(logits, weights)
        counts += weights

    def finish(self, slices: int) -> Tensor:
        """Return the mean logits (L, slices, H, W) of the first slices, computed in place."""
        assert self._sums is not None
        counts, done = self._counts[:slices], self._sums[:, :slices]
        uncovered = counts == 0
        done.div_(counts.masked_fill(uncovered, 1))
        if uncovered.any():
            done[:, uncovered] = background_logits(done)[:, None]
        return done

    def advance(self, slices: int) -> None:
        """Drop the first slices, move the others up and clear as many at the end."""
        assert self._sums is not None
        held = self._counts.shape[0]
        for first in range(0, held - slices, slices):  # in pieces, as source and target must not overlap
            stop = min(first + slices, held - slices)
            self._sums[:, first:stop] = self._sums[:, first + slices : stop + slices]
            self._counts[first:stop] = self._counts[first + slices : stop + slices]
        self._sums[:, max(held - slices, 0) :] = 0
        self._counts[max(held - slices, 0) :] = 0


def _run_layer(
    average: Average,
    image: Tensor,
    layer: int,
    windows: Windows,
    belt: _Belt,
    *,
    skip: Callable[[Tensor], bool] | None,
) -> None:
    """Run all windows of a layer, which begin at the same slice."""
    start, (depth, height, width) = windows.starts[0][layer], windows.size
    places = [(row, col) for row, col in product(*windows.starts[1:]) if belt.touches(row, height)]
    cuts = {
        place: image[:, start : start + depth, place[0] : place[0] + height, place[1] : place[1] + width]
        for place in places
    }
    kept = [place for place in places if skip is None or not skip(cuts[place])]
    if not kept and belt.is_empty:
        kept = places[:1]  # one window always runs, because its logits give the number of classes
    for phase in range(average.phases):
        in_phase = [place for place in kept if windows.phase(layer, *place) % average.phases == phase]
        for first in range(0, len(in_phase), windows.at_once):
            batch = in_phase[first : first + windows.at_once]
            seen = average(torch.stack([cuts[place] for place in batch]), phase)
            for place, logits in zip(batch, seen, strict=True):
                belt.add(logits, *place)


def _pad(image: Tensor, windows: Windows) -> Tensor:
    (before, after), (above, below), (left, right) = windows.padding
    if not any((before, after, above, below, left, right)):
        return image
    return F.pad(image, (left, right, above, below, before, after))
