"""Exact conversion of masks in a plane to polygons and back; polygons run along the edges of pixels.

Pixel centres have integer coordinates (i, j), so edges lie at halves. A hole is joined to the outline around
it by a keyhole, a channel of zero width, because programs interpret separate inner contours differently.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""A closed polygon (n, 2); the last point is joined to the first."""

_NEAR = 1e-3  # pixels; centres this close to an edge count as inside
_TURNS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_Vertex = tuple[int, int]


def outlines(mask: NDArray[np.bool_]) -> list[Points]:
    """Return polygons that contain exactly the pixels of a mask (i, j), with keyholes to holes."""
    loops = _loops(mask)
    owner = {vertex: number for number, loop in enumerate(loops) for vertex in loop}
    outer = [number for number, loop in enumerate(loops) if _area(loop) > 0]
    joined = {number: list(loops[number]) for number in outer}
    root = {number: number for number in outer}
    holes = [number for number in range(len(loops)) if number not in joined]
    for number in sorted(holes, key=lambda hole: min(loops[hole])):
        start = min(loops[number])  # the leftmost vertex; holes further left are already joined
        bridge = [start]
        while owner.get(bridge[-1], number) == number:
            bridge.append((bridge[-1][0] - 1, bridge[-1][1]))
        root[number] = root[owner[bridge[-1]]]
        joined[root[number]] = _spliced(joined[root[number]], loops[number], bridge)
    return [_corners(loop) - 0.5 for loop in joined.values()]


def fill(polygons: Sequence[Points], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return pixels (i, j) whose centre is inside an odd number of polygons, or on the edge of this area."""
    inside = np.zeros(size, dtype=bool)
    for near in ((_NEAR, _NEAR), (_NEAR, -_NEAR), (-_NEAR, _NEAR), (-_NEAR, -_NEAR)):
        crossings = np.zeros((size[0] + 1, size[1]), dtype=np.int32)
        for polygon in polygons:
            _cross(crossings, polygon + near)
        inside |= np.cumsum(crossings, axis=0)[:-1] % 2 == 1
    return inside


def combine(polygons: Sequence[Points], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return pixels (i, j) of a structure's contours in a plane.

    A contour inside another one is a hole; all others are joined.
    """
    masks = sorted((fill([polygon], size) for polygon in _distinct(polygons)), key=np.sum, reverse=True)
    whole = np.zeros(size, dtype=bool)
    for mask in masks:
        if not (mask & ~whole).any():
            whole &= ~mask
        else:
            whole |= mask
    return whole


def _loops(mask: NDArray[np.bool_]) -> list[list[_Vertex]]:
    """Return closed loops along pixel edges with the mask on their left.

    Vertex (i, j) is the corner of pixel (i, j) with the lowest coordinates.
    """
    padded = np.pad(mask, 1)
    following: dict[tuple[_Vertex, int], _Vertex] = {}
    for turn, (start, step) in enumerate(
        (((0, 0), (0, -1)), ((1, 0), (1, 0)), ((1, 1), (0, 1)), ((0, 1), (-1, 0)))
    ):
        edge = mask & ~np.roll(padded, (-step[0], -step[1]), (0, 1))[1:-1, 1:-1]
        for i, j in np.argwhere(edge).tolist():
            vertex = (i + start[0], j + start[1])
            following[vertex, turn] = (vertex[0] + _TURNS[turn][0], vertex[1] + _TURNS[turn][1])
    loops = []
    while following:
        (vertex, turn), _ = next(iter(following.items()))
        loop = []
        while (vertex, turn) in following:
            loop.append(vertex)
            vertex = following.pop((vertex, turn))
            turn = next(
                (new % 4 for new in (turn + 1, turn, turn - 1) if (vertex, new % 4) in following), turn
            )
        loops.append(loop)
    return loops


def _area(loop: Sequence[_Vertex]) -> float:
    points = np.array(loop, dtype=np.float64)
    i, j = points.T
    return float(i @ np.roll(j, -1) - j @ np.roll(i, -1)) / 2


def _spliced(outer: list[_Vertex], hole: list[_Vertex], bridge: list[_Vertex]) -> list[_Vertex]:
    """Return the outline extended by the bridge, around the hole and back."""
    at, first = outer.index(bridge[-1]), hole.index(bridge[0])
    there = bridge[:0:-1]
    return [*outer[:at], *there, *hole[first:], *hole[: first + 1], *bridge[1:], *outer[at + 1 :]]


def _corners(loop: Sequence[_Vertex]) -> Points:
    """Return the vertices at which a loop turns."""
    points = np.array(loop, dtype=np.float64)
    turns = np.any(points - np.roll(points, 1, 0) != np.roll(points, -1, 0) - points, axis=1)
    return points[turns]


def _cross(crossings: NDArray[np.int32], polygon: Points) -> None:
    """Add 1, for each edge of the polygon and each row j it crosses, at the first pixel i after the edge."""
    (i0, j0), (i1, j1) = polygon.T, np.roll(polygon, -1, axis=0).T
    low = np.clip(np.ceil(np.minimum(j0, j1)), 0, crossings.shape[1]).astype(int)
    high = np.clip(np.ceil(np.maximum(j0, j1)), 0, crossings.shape[1]).astype(int)
    count = high - low
    edge = np.repeat(np.arange(len(polygon)), count)
    rows = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    at = i0[edge] + (rows - j0[edge]) * (i1 - i0)[edge] / (j1 - j0)[edge]
    np.add.at(crossings, (np.clip(np.ceil(at), 0, crossings.shape[0] - 1).astype(int), rows), 1)


def _distinct(polygons: Sequence[Points]) -> list[Points]:
    """Return the polygons without exact copies, which would cancel each other out."""
    return list({polygon.round(3).tobytes(): polygon for polygon in polygons}.values())
