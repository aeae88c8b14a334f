"""Logits from the network's grid back to the scan's own, a few slices at a time.

Linear along each axis with voxel edges meeting at the ends, as torch's trilinear interpolation without
aligned corners; what comes out of a piece is written at once as labels or probabilities, so that no volume
of all classes ever exists.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from app.data.prepare.geometry import Geometry
from app.data.prepare.label_vote import corner_steps, corner_weights, mixed, uniform_cells
from app.infer.window.decode import labels_of

Place = tuple[Any, ...]
"""An index (..., slices, rows, columns) into what is painted."""

PIECE_VALUES = 2**24  # logits on the scan's grid at once: 64 MB
_MIXED_VALUES = 2**22  # logits between voxels at once


@dataclass(frozen=True)
class Canvas:
    """An array (D, H, W) or (K, D, H, W) over a scan's crop, and what logits (L, ...) become in it."""

    voxels: NDArray[Any]
    meaning: Callable[[Tensor], Tensor]

    @property
    def decided(self) -> bool:
        """Whether it holds labels, which points between voxels of one label have without interpolation."""
        return self.meaning is labels_of

    def paint(self, place: Place, logits: Tensor) -> None:
        """Fill the slices and rows at `place` from their logits (L, d, h, W)."""
        self.voxels[place] = self.meaning(logits).cpu().numpy()


class Painted(Protocol):
    """What takes logits piece by piece, as a Canvas does."""

    def paint(self, place: Place, logits: Tensor) -> None:
        """Take the logits (L, d, h, W) of the slices and rows at `place`."""
        ...


class Restorer:
    """Takes finished slices of logits in order and paints canvases with them.

    `columns` are the rows of H, on the scan's grid, that it paints; `rows` those it needs of the network's.
    """

    def __init__(self, geometry: Geometry, canvases: Sequence[Painted], columns: range | None = None) -> None:
        self._columns = columns or range(geometry.cropped[1])
        self._canvases = tuple(canvases)
        self._labels = [canvas for canvas in canvases if isinstance(canvas, Canvas) and canvas.decided]
        self._labels_alone = len(self._labels) == len(self._canvases)
        self._width = geometry.cropped[2]
        self._depth = _Line.between(geometry.resampled[0], geometry.cropped[0])
        self._across = _Line.between(geometry.resampled[2], geometry.cropped[2])
        self._zoom = geometry.cropped[0] / geometry.resampled[0]
        self.rows = rows_needed(geometry, self._columns)
        self._height = _Line.between(geometry.resampled[1], geometry.cropped[1]).part(self._columns)
        self._held: Tensor | None = None  # the last slice seen; the next piece may lie between it and others
        self._seen = 0
        self._painted = 0

    def add(self, slices: Tensor) -> None:
        """The next slices (L, d, len(rows), W); only valid during the call."""
        first = self._seen - (0 if self._held is None else 1)
        self._seen += slices.shape[1]
        stop = self._depth.complete(self._seen)
        paint = self._paint_labels if self._labels_alone else self._paint
        at_once = self._at_once(slices)
        for begin in range(self._painted, stop, at_once):
            piece = range(begin, min(begin + at_once, stop))
            needed = self._depth.needs(piece)
            paint(self._take(slices, first, needed), piece)
        self._painted = max(stop, self._painted)
        self._held = slices[:, -1:].clone()

    def _take(self, slices: Tensor, first: int, needed: range) -> Tensor:
        """Slices by their number in the volume; number `first` may be the one held from before."""
        if self._held is None:
            return slices[:, needed.start - first : needed.stop - first]
        held = [self._held] if needed.start == first else []
        rest = slices[:, max(needed.start - first - 1, 0) : needed.stop - first - 1]
        return torch.cat([*held, rest], dim=1) if held else rest

    def _at_once(self, slices: Tensor) -> int:
        """How many slices of the scan are painted at once."""
        whole = len(self._columns) * self._width
        if not self._labels_alone:
            return max(1, PIECE_VALUES // (slices.shape[0] * whole))
        seen = PIECE_VALUES // slices[:, 0].numel()  # slices of the network's grid
        return max(1, min(int((seen - 1) * self._zoom), PIECE_VALUES // whole))

    def _paint_labels(self, slices: Tensor, piece: range) -> None:
        """Labels alone: only between voxels of different labels are logits interpolated."""
        lines = (self._depth.part(piece), self._height, self._across)
        labels = labels_of(slices)
        if any(line.weight is not None for line in lines):
            labels = _between_voxels(slices, labels, lines)
        place = (slice(piece.start, piece.stop), slice(self._columns.start, self._columns.stop))
        for canvas in self._labels:
            canvas.voxels[place] = labels.cpu().numpy()

    def _paint(self, slices: Tensor, piece: range) -> None:
        labels, depth, height, width = slices.shape
        if width != self._width:
            lines = slices.reshape(labels * depth, height, width)
            wide = F.interpolate(lines, size=self._width, mode="linear", align_corners=False)
            slices = wide.reshape(labels, depth, height, self._width)
        slices = self._height.apply(slices, dim=2)
        logits = self._depth.part(piece).apply(slices, dim=1)
        place = (
            ...,
            slice(piece.start, piece.stop),
            slice(self._columns.start, self._columns.stop),
            slice(None),
        )
        for canvas in self._canvases:
            canvas.paint(place, logits)


def _between_voxels(logits: Tensor, labels: Tensor, lines: tuple["_Line", "_Line", "_Line"]) -> Tensor:
    """Labels (d, h, w) along three lines through logits (L, D, H, W), whose labels are given.

    A label that is the largest at all eight voxels around a point is so at the point.
    """
    padded = F.pad(labels[None, None].float(), (0, 1) * 3, mode="replicate")[0, 0].to(labels.dtype)
    low = [line.low.to(labels.device) for line in lines]
    points = uniform_cells(padded)
    for axis, places in enumerate(low):
        points = points.index_select(axis, places)
    ends = [torch.zeros(len(line.low)) if line.weight is None else line.weight for line in lines]
    ends = [end.to(labels.device) for end in ends]
    steps = torch.tensor(corner_steps(padded.shape), device=labels.device)
    rows = F.pad(logits[None], (0, 1) * 3, mode="replicate")[0].flatten(1).t().contiguous()
    result = points.to(labels.dtype)
    for chosen in mixed(points, max(1, _MIXED_VALUES // len(logits))):
        at = torch.unravel_index(chosen, points.shape)
        depth, height, width = (places[index] for places, index in zip(low, at, strict=True))
        first = (depth * padded.shape[1] + height) * padded.shape[2] + width
        weights = corner_weights((ends[0][at[0]], ends[1][at[1]], ends[2][at[2]]))
        mean = F.embedding_bag(
            (first[:, None] + steps), rows, mode="sum", per_sample_weights=weights.t().contiguous()
        )
        result.view(-1)[chosen] = mean.max(dim=1).indices.to(labels.dtype)
    return result


def rows_needed(geometry: Geometry, columns: range) -> range:
    """The rows of H on the network's grid that `columns` of the scan's lie between."""
    return _Line.between(geometry.resampled[1], geometry.cropped[1]).needs(columns)


@dataclass(frozen=True)
class _Line:
    """Linear interpolation along one axis: target voxel i lies between source voxels `low[i]` and `high[i]`.

    `weight[i]` is the share of the latter; None where source and target are the same voxels.
    """

    low: Tensor
    high: Tensor
    weight: Tensor | None

    @classmethod
    def between(cls, source: int, target: int) -> "_Line":
        """Over one extent, from `source` to `target` voxels."""
        if source == target:
            return cls(torch.arange(target), torch.arange(target), None)
        place = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).clamp_(min=0)
        low = place.floor().to(torch.int64).clamp_(max=source - 1)
        return cls(low, (low + 1).clamp_(max=source - 1), (place - low).float())

    def needs(self, piece: range) -> range:
        """The source voxels that a piece of the target lies between."""
        return range(int(self.low[piece.start]), int(self.high[piece.stop - 1]) + 1)

    def complete(self, seen: int) -> int:
        """How many target voxels lie between the first `seen` source voxels."""
        return int(torch.searchsorted(self.high, seen))

    def part(self, piece: range) -> "_Line":
        """The line to a piece of the target, from the source voxels it needs."""
        cut, begin = slice(piece.start, piece.stop), self.low[piece.start]
        weight = None if self.weight is None else self.weight[cut]
        return _Line(self.low[cut] - begin, self.high[cut] - begin, weight)

    def apply(self, values: Tensor, dim: int) -> Tensor:
        """Interpolate along `dim`."""
        if self.weight is None:
            return values
        shape = [1] * values.dim()
        shape[dim] = -1
        low, high = (values.index_select(dim, index.to(values.device)) for index in (self.low, self.high))
        return torch.lerp(low, high, self.weight.to(values.device).view(shape))
