"""Resampling logits from the network's grid back to the scan's own, a few slices at a time.

Logits are interpolated linearly along each axis; the outer voxel edges of both grids coincide, as in torch's
trilinear interpolation without aligned corners. Each piece is decoded and written at once as labels or
probabilities, so a volume of all classes is never held in memory.
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
from app.infer.window.decode import most_probable_labels

Place = tuple[Any, ...]
"""An index (..., slices, rows, columns) into the array that is painted."""

PIECE_VALUES = 2**24  # logits on the scan's grid at once: 64 MB
_MIXED_VALUES = 2**22  # logits between voxels at once


@dataclass(frozen=True)
class Canvas:
    """An array (D, H, W) or (K, D, H, W) over a scan's crop, and the function that decodes logits for it.

    `meaning` maps logits (L, ...) to values (...) or (K, ...).
    """

    voxels: NDArray[Any]
    meaning: Callable[[Tensor], Tensor]

    @property
    def decided(self) -> bool:
        """Whether the array holds labels; these need no interpolation between voxels of one label."""
        return self.meaning is most_probable_labels

    def paint(self, place: Place, logits: Tensor) -> None:
        """Fill the slices and rows at `place` from their logits (L, d, h, W)."""
        self.voxels[place] = self.meaning(logits).cpu().numpy()


class Painted(Protocol):
    """The interface of objects that take logits piece by piece, such as Canvas."""

    def paint(self, place: Place, logits: Tensor) -> None:
        """Take the logits (L, d, h, W) of the slices and rows at `place`."""
        ...


class Restorer:
    """A converter that takes finished slices of logits in order, resamples them and paints canvases.

    `scan_rows` is the range of H on the scan's grid to paint; `network_rows` is the range of H on the
    network's grid that it needs for that.
    """

    def __init__(
        self, geometry: Geometry, canvases: Sequence[Painted], scan_rows: range | None = None
    ) -> None:
        self._scan_rows = scan_rows or range(geometry.cropped[1])
        self._canvases = tuple(canvases)
        self._labels = [canvas for canvas in canvases if isinstance(canvas, Canvas) and canvas.decided]
        self._labels_alone = len(self._labels) == len(self._canvases)
        self._width = geometry.cropped[2]
        self._depth = _Line.between(geometry.resampled[0], geometry.cropped[0])
        self._across = _Line.between(geometry.resampled[2], geometry.cropped[2])
        self._zoom = geometry.cropped[0] / geometry.resampled[0]
        self.network_rows = network_rows(geometry, self._scan_rows)
        self._height = _Line.between(geometry.resampled[1], geometry.cropped[1]).part(self._scan_rows)
        self._held: Tensor | None = None  # the last slice, which the next piece may need as a neighbour
        self._seen = 0
        self._painted = 0

    def add(self, slices: Tensor) -> None:
        """Take the next slices (L, d, len(rows), W); they may be overwritten after the call."""
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
        """Return the slices in the range `needed` of the volume; `first` is the first one available.

        The first one may be the slice held from the call before.
        """
        if self._held is None:
            return slices[:, needed.start - first : needed.stop - first]
        held = [self._held] if needed.start == first else []
        rest = slices[:, max(needed.start - first - 1, 0) : needed.stop - first - 1]
        return torch.cat([*held, rest], dim=1) if held else rest

    def _at_once(self, slices: Tensor) -> int:
        """Return the number of the scan's slices that are painted at once."""
        whole = len(self._scan_rows) * self._width
        if not self._labels_alone:
            return max(1, PIECE_VALUES // (slices.shape[0] * whole))
        seen = PIECE_VALUES // slices[:, 0].numel()  # slices of the network's grid
        return max(1, min(int((seen - 1) * self._zoom), PIECE_VALUES // whole))

    def _paint_labels(self, slices: Tensor, piece: range) -> None:
        """Paint labels only; logits are interpolated only between voxels of different labels."""
        lines = (self._depth.part(piece), self._height, self._across)
        labels = most_probable_labels(slices)
        if any(line.weight is not None for line in lines):
            labels = _between_voxels(slices, labels, lines)
        place = (slice(piece.start, piece.stop), slice(self._scan_rows.start, self._scan_rows.stop))
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
            slice(self._scan_rows.start, self._scan_rows.stop),
            slice(None),
        )
        for canvas in self._canvases:
            canvas.paint(place, logits)


def _between_voxels(logits: Tensor, labels: Tensor, lines: tuple["_Line", "_Line", "_Line"]) -> Tensor:
    """Return labels (d, h, w) at the points of three lines through logits (L, D, H, W).

    `labels` (D, H, W) are those of the logits. If the eight voxels around a point have the same label, the
    point has it too, without interpolation.
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


def network_rows(geometry: Geometry, scan_rows: range) -> range:
    """Return the range of H on the network's grid that is needed for a range of H on the scan's grid."""
    return _Line.between(geometry.resampled[1], geometry.cropped[1]).needs(scan_rows)


@dataclass(frozen=True)
class _Line:
    """A linear interpolation along one axis.

    Target voxel i lies between source voxels `low[i]` and `high[i]`; `weight[i]` is the weight of the latter.
    `weight` is None if source and target voxels are the same.
    """

    low: Tensor
    high: Tensor
    weight: Tensor | None

    @classmethod
    def between(cls, source: int, target: int) -> "_Line":
        """Return the interpolation from `source` to `target` voxels over the same extent."""
        if source == target:
            return cls(torch.arange(target), torch.arange(target), None)
        place = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).clamp_(min=0)
        low = place.floor().to(torch.int64).clamp_(max=source - 1)
        return cls(low, (low + 1).clamp_(max=source - 1), (place - low).float())

    def needs(self, piece: range) -> range:
        """Return the range of source voxels that a piece of the target needs."""
        return range(int(self.low[piece.start]), int(self.high[piece.stop - 1]) + 1)

    def complete(self, seen: int) -> int:
        """Return the number of target voxels that the first `seen` source voxels are enough for."""
        return int(torch.searchsorted(self.high, seen))

    def part(self, piece: range) -> "_Line":
        """Return the interpolation to a piece of the target, from the source voxels it needs."""
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
