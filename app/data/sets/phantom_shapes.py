"""Shapes as distance fields: negative inside, zero on the surface, at any point.

Points are (3, ...) and distances (...), in the same unit of length; there are no voxels here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Field = NDArray[np.float32]
"""One number per point (...), or n numbers per point (n, ...); points themselves are (3, ...)."""

Vectors = NDArray[np.float64]
"""A point or three radii (3,), or n of them, one per row (n, 3)."""

_WAVES = 16
_FAR = 0.2


@dataclass(frozen=True)
class Waves:
    """A smooth random field: a few sines of random wave vector (n, 3), phase (n,) and amplitude (n, c)."""

    vectors: Field
    phases: Field
    amplitudes: Field

    @classmethod
    def draw(
        cls,
        generator: np.random.Generator,
        *,
        wavelengths: tuple[float, float],
        size: float,
        components: int = 1,
    ) -> Self:
        """Draw a field with standard deviation `size` per component; longer waves have larger amplitudes."""
        lengths = generator.uniform(*wavelengths, size=(_WAVES, 1))
        vectors = unit(generator.normal(size=(_WAVES, 3))) * 2 * np.pi / lengths
        amplitudes = lengths * unit(generator.normal(size=(_WAVES, components)))
        amplitudes *= size * np.sqrt(2) / np.linalg.norm(amplitudes, axis=0)
        phases = generator.uniform(0, 2 * np.pi, size=(_WAVES, 1))
        return cls(vectors.astype(np.float32), phases.astype(np.float32), amplitudes.astype(np.float32))

    def at(self, points: Field) -> Field:
        """Return the values (c, ...) at points (3, ...)."""
        sines = np.sin(self.vectors @ points.reshape(3, -1) + self.phases)
        values: Field = self.amplitudes.T @ sines
        return values.reshape(-1, *points.shape[1:])


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, by its centre and its radii along the axes."""

    centre: Vectors
    radii: Vectors

    def distance(self, points: Field) -> Field:
        """Return the distance to first order, exact on the surface (Quilez, "Ellipsoid - distance", 2008)."""
        column = (3,) + (1,) * (points.ndim - 1)
        radii = self.radii.astype(np.float32).reshape(column)
        scaled = (points - self.centre.astype(np.float32).reshape(column)) / radii
        level = np.sqrt((scaled**2).sum(axis=0))
        slope = np.sqrt(((scaled / radii) ** 2).sum(axis=0))
        distance: Field = level * (level - 1) / np.maximum(slope, np.float32(1e-6))
        return distance

    def random_point(self, generator: np.random.Generator, reach: tuple[float, float]) -> Vectors:
        """Draw a point in a random direction, at a share in `reach` of the way from centre to surface."""
        direction = unit(generator.normal(size=(1, 3)))[0]
        place: Vectors = self.centre + self.radii * direction * generator.uniform(*reach)
        return place


@dataclass(frozen=True)
class Tree:
    """A set of tubes, by dense points on their centre lines (n, 3) and the radius at each point (n,)."""

    points: Vectors
    radii: Vectors

    def distance(self, points: Field) -> Field:
        """Return the distance from the wall of the tube with the nearest centre line, at most `_FAR`."""
        gaps, nearest = cKDTree(self.points).query(points.reshape(3, -1).T, distance_upper_bound=_FAR)
        radii = np.append(self.radii, 0.0)[nearest]  # the index is one past the last for points beyond _FAR
        distance: Field = (np.minimum(gaps, _FAR) - radii).astype(np.float32)
        return distance.reshape(points.shape[1:])


def cylinder(points: Field, *, at: tuple[float, float], radius: float) -> Field:
    """Return the distance from an infinite cylinder along the third axis."""
    axis = np.hypot(points[0] - np.float32(at[0]), points[1] - np.float32(at[1]))
    distance: Field = axis - np.float32(radius)
    return distance


def union(distances: Sequence[Field], *, blend: float = 0.0) -> Field:
    """Return the distance from the nearest shape; `blend` smooths joints over about that length."""
    nearest: Field = np.minimum.reduce(distances)
    if blend:
        shares = np.exp((nearest - np.stack(distances)) / np.float32(blend))
        nearest = nearest - np.float32(blend) * np.log(shares.sum(axis=0))
    return nearest


def unit(vectors: Vectors) -> Vectors:
    """Return the rows scaled to length one."""
    scaled: Vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled
