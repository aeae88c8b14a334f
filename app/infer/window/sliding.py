"""A network over a volume larger than its patch: overlapping windows, added up layer by layer.

Only logits that later windows still add to are held: as many slices as a window is deep. Finished slices are
handed on and forgotten, so memory does not grow with the length of a scan.
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
from app.infer.window.decode import background_logits, labels_of
from app.infer.window.windows import Windows, lay_windows

STRETCH = 1.25  # a window may be this much longer than the patch; in longer ones norms see another scale


@dataclass(frozen=True)
class SlidingSettings:
    """How windows are laid, what is averaged and left out, and what is made of the probabilities."""

    overlap: float
    """Share of a window that its neighbour covers too."""
    windows: int
    """Patches per forward pass, or fewer and longer windows of as many voxels."""
    mirror_axes: tuple[int, ...]
    """Axes of (D, H, W) over whose mirror images, and their combinations, predictions are averaged."""
    alternate: bool = False
    """Windows see one mirror image each, in turn, so that overlapping ones see different images of a voxel.

    A scan of a single window sees all.
    """
    certain: float | None = None
    """A window whose every voxel has a label of at least this probability at first sees no other image."""
    skip_air: bool = False
    """Leave out windows without tissue, by the rule in app.infer.window.empty."""
    decode: str = "argmax"
    """argmax: each voxel's likeliest label; dice: the labels with the highest expected Dice."""
    stretch: float = STRETCH
    """How much longer than the patch a window may be along each axis; 1 for networks made for one size."""

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
        """Return these settings, or with windows of the patch's size if a network fits no other."""
        return self if fits_other_sizes else replace(self, stretch=1.0)

    def check_mirrors(self, flipped: Sequence[int]) -> None:
        """Raise InputError unless training flipped every axis mirrored: along others a network guesses."""
        if not set(self.mirror_axes) <= set(flipped):
            raise InputError(
                f"sliding.mirror_axes: got {list(self.mirror_axes)}, wanted axes among {list(flipped)}: "
                "those that training flipped (augment.flip_axes)"
            )


def sliding_logits(network: nn.Module, image: Tensor, plan: Plan, settings: SlidingSettings) -> Tensor:
    """(C, D, H, W) -> logits (L, D, H, W) of the whole volume, for volumes small enough to hold them."""
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
    """(C, D, H, W) -> label values (D, H, W) on the CPU; logits of finished slices are not kept."""
    windows = fit_windows(as_size(image.shape[1:]), [plan], settings)
    average = average_of([EagerEngine(network, precision)], settings, windows, plan)
    slices = stream_logits(average, image, windows)
    return torch.cat([labels_of(finished).cpu() for finished in slices])


def average_of(
    members: Sequence[Engine],
    settings: SlidingSettings,
    windows: Windows,
    plan: Plan,
    agreement: Agreement | None = None,
) -> Average:
    """The networks, and the mirror images that each window sees."""
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
    """(C, D, H, W) -> logits (L, d, len(rows), W) of the next d finished slices, until all D are done.

    `rows` is the part of H wanted, by default all: only windows that touch it run. Windows that `skip` says
    so of do not run; what no window covers is background. The agreement of `average` counts how far windows
    agree with those before them where they overlap. A tensor is valid until the next is asked for.
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
    """Windows of the patch's size or somewhat longer along each axis, whichever compute the fewest voxels.

    A pass holds no more voxels than `settings.windows` patches have. Networks of several plans with
    one patch see windows that all of them can halve as often as they do.
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
    """Weighted sums of logits over the slices that one layer of windows covers, moved from layer to layer."""

    def __init__(self, windows: Windows, rows: range, width: int, agreement: Agreement | None) -> None:
        self._weights = windows.weights()
        self._first, self._stop = rows.start, rows.stop
        self._sums: Tensor | None = None
        self._counts = torch.zeros(windows.size[0], len(rows), width)
        self._agreement = agreement

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever added; not even the number of classes is known then."""
        return self._sums is None

    def touches(self, row: int, height: int) -> bool:
        """Whether a window that begins at `row` of H covers any row wanted."""
        return row < self._stop and row + height > self._first

    def add(self, logits: Tensor, row: int, column: int) -> None:
        """Add a window's logits (L, d, h, w) at its place in (H, W)."""
        if self._sums is None:
            self._weights = self._weights.to(logits.device)
            self._counts = self._counts.to(logits.device)
            self._sums = logits.new_zeros(logits.shape[0], *self._counts.shape)
        low, high = max(row, self._first), min(row + logits.shape[2], self._stop)
        inside, columns = slice(low - row, high - row), slice(column, column + logits.shape[3])
        place = (slice(None), slice(low - self._first, high - self._first), columns)
        weights, logits = self._weights[:, inside], logits[:, :, inside]
        sums, counts = self._sums[(slice(None), *place)], self._counts[place]
        if self._agreement is not None:
            some = (..., slice(None, None, 2), slice(None, None, 2), slice(None))  # a quarter takes less time
            self._agreement.compare(logits[some], sums[some], where=counts[some] > 0)
        sums.addcmul_(logits, weights)
        counts += weights

    def finish(self, slices: int) -> Tensor:
        """The mean logits (L, slices, H, W) of the first slices, in place."""
        assert self._sums is not None
        counts, done = self._counts[:slices], self._sums[:, :slices]
        uncovered = counts == 0
        done.div_(counts.masked_fill(uncovered, 1))
        if uncovered.any():
            done[:, uncovered] = background_logits(done)[:, None]
        return done

    def advance(self, slices: int) -> None:
        """Forget the first slices and make room for as many."""
        assert self._sums is not None
        held = self._counts.shape[0]
        for first in range(0, held - slices, slices):  # piece by piece: a copy onto itself must not overlap
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
    """Run all windows of a layer, those that begin at one slice."""
    start, (depth, height, width) = windows.starts[0][layer], windows.size
    places = [(row, col) for row, col in product(*windows.starts[1:]) if belt.touches(row, height)]
    cuts = {
        place: image[:, start : start + depth, place[0] : place[0] + height, place[1] : place[1] + width]
        for place in places
    }
    kept = [place for place in places if skip is None or not skip(cuts[place])]
    if not kept and belt.is_empty:
        kept = places[:1]  # one window always runs: it tells the number of classes
    for turn in range(average.turns):
        of_turn = [place for place in kept if windows.turn(layer, *place) % average.turns == turn]
        for first in range(0, len(of_turn), windows.at_once):
            batch = of_turn[first : first + windows.at_once]
            seen = average(torch.stack([cuts[place] for place in batch]), turn)
            for place, logits in zip(batch, seen, strict=True):
                belt.add(logits, *place)


def _pad(image: Tensor, windows: Windows) -> Tensor:
    (before, after), (above, below), (left, right) = windows.padding
    if not any((before, after, above, below, left, right)):
        return image
    return F.pad(image, (left, right, above, below, before, after))
