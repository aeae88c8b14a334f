"""A generated patient: a torso whose organ has lobes, vessels and lesions, among organs that look similar.

Axes are (right, anterior, superior). The unit of length is half the field of view, so the torso fills about
-1 to 1. If shapes overlap, the label of a lesion replaces that of a vessel, and a vessel's replaces the
organ's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.data.sets.phantom_shapes import Ellipsoid, Field, Tree, Vectors, Waves, cylinder, union

LABELS = ("background", "organ", "vessel", "lesion")
ORGAN, VESSEL, LESION = 1, 2, 3

Usual = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Centre and radii of an ellipsoid in an average patient."""

_LOBES: tuple[Usual, ...] = (  # right, left, lower tip
    ((0.38, 0.04, 0.14), (0.38, 0.42, 0.46)),
    ((0.00, 0.30, 0.22), (0.38, 0.20, 0.27)),
    ((0.50, 0.00, -0.26), (0.22, 0.30, 0.34)),
)
_NEIGHBOURS: dict[str, tuple[Usual, ...]] = {
    "lung": (((0.44, -0.05, 1.02), (0.36, 0.46, 0.50)), ((-0.44, -0.05, 0.95), (0.36, 0.46, 0.50))),
    "heart": (((-0.12, 0.24, 0.98), (0.34, 0.32, 0.36)),),
    "spleen": (((-0.56, -0.10, 0.20), (0.18, 0.30, 0.34)),),
    "stomach": (((-0.36, 0.30, 0.10), (0.24, 0.20, 0.36)),),
    "kidney": (((0.38, -0.36, -0.48), (0.15, 0.14, 0.27)), ((-0.40, -0.36, -0.30), (0.15, 0.14, 0.27))),
}
# Brightness of tissues with contrast agent: vessels, fat, kidneys and marrow are similar, as are organ and
# spleen.
_TISSUES = {
    **{"air": 0.02, "lung": 0.10, "fat": 0.76, "muscle": 0.42, "bowel": 0.42, "stomach": 0.36},
    **{"spleen": 0.64, "cortex": 0.84, "medulla": 0.56, "bone": 0.12, "marrow": 0.80, "disc": 0.45},
    **{"fluid": 0.22, "organ": 0.57, "vessel": 1.02, "lesion": 0.25},
}
_TRUNK, _BRANCH, _TWIG = 0.085, 0.074, 0.064  # radii; a twig is 4 voxels wide in a plane of 64 x 64
_HILUM = np.array([0.10, 0.05, -0.08])  # point at which the trunk divides
_INLET = np.array([-0.12, -0.06, -0.20])  # start of the trunk, relative to the hilum


@dataclass(frozen=True)
class Patient:
    """The properties that differ between patients: shapes, and the brightness of each tissue."""

    warp: Waves
    bowel: Waves
    grain: Waves
    relief: Waves
    girth: tuple[float, float]
    fat: float
    wall: float
    neighbours: dict[str, tuple[Ellipsoid, ...]]
    lobes: tuple[Ellipsoid, ...]
    vessels: Tree
    lesions: tuple[Ellipsoid, ...]
    tissues: dict[str, float]


def draw_patient(generator: np.random.Generator) -> Patient:
    """Draw one random patient."""
    lobes = _draw_ellipsoids(generator, _LOBES)
    vessels = _draw_vessels(generator, lobes)
    return Patient(
        warp=Waves.draw(generator, wavelengths=(0.7, 2.0), size=0.045, components=3),
        bowel=Waves.draw(generator, wavelengths=(0.25, 0.50), size=0.05),
        grain=Waves.draw(generator, wavelengths=(0.12, 0.30), size=1.0),
        relief=Waves.draw(generator, wavelengths=(0.35, 0.70), size=0.018),
        girth=(generator.uniform(0.88, 1.0), generator.uniform(0.70, 0.82)),
        fat=generator.uniform(0.04, 0.12),
        wall=generator.uniform(0.06, 0.10),
        neighbours={name: _draw_ellipsoids(generator, usual) for name, usual in _NEIGHBOURS.items()},
        lobes=lobes,
        vessels=vessels,
        lesions=_draw_lesions(generator, lobes, vessels),
        tissues={name: value * generator.uniform(0.95, 1.05) for name, value in _TISSUES.items()},
    )


def picture(patient: Patient, points: Field, *, edge: float) -> tuple[Field, NDArray[np.uint8]]:
    """Return brightness, about 0 to 1, and label at points (3, ...).

    In the brightness, the transition from one tissue to the next is `edge` wide.
    """
    points = points + patient.warp.at(points)
    canvas = _Canvas(np.full(points.shape[1:], patient.tissues["air"], np.float32), edge, patient.tissues)
    cavity = _paint_torso(canvas, patient, points)
    _paint_neighbours(canvas, patient, points, cavity)
    _paint_spine(canvas, points)
    return canvas.image, _paint_organ(canvas, patient, points, cavity)


def _draw_ellipsoids(generator: np.random.Generator, usual: Iterable[Usual]) -> tuple[Ellipsoid, ...]:
    return tuple(
        Ellipsoid(
            np.array(centre) + generator.normal(0, 0.03, 3),
            np.array(radii) * generator.uniform(0.90, 1.10, 3),
        )
        for centre, radii in usual
    )


def _draw_vessels(generator: np.random.Generator, lobes: tuple[Ellipsoid, ...]) -> Tree:
    """Draw a trunk to the hilum, a branch from there into each lobe, and two or three twigs per branch."""
    hilum = _HILUM + generator.normal(0, 0.03, 3)
    tubes = [_curve(generator, hilum + _INLET, hilum, (_TRUNK, _TRUNK))]
    for lobe in lobes:
        branch = _curve(generator, hilum, lobe.random_point(generator, (0.2, 0.45)), (_TRUNK, _BRANCH))
        tubes.append(branch)
        for _ in range(generator.integers(2, 4)):
            fork = branch[0][generator.integers(len(branch[0]) // 2, len(branch[0]))]
            tubes.append(_curve(generator, fork, lobe.random_point(generator, (0.6, 0.8)), (_BRANCH, _TWIG)))
    points, radii = zip(*tubes, strict=True)
    return Tree(np.concatenate(points), np.concatenate(radii))


def _curve(
    generator: np.random.Generator, start: Vectors, end: Vectors, radii: tuple[float, float]
) -> tuple[Vectors, Vectors]:
    """Draw a quadratic Bezier curve with a randomly shifted middle; return its points and their radii."""
    way = np.linspace(0, 1, 60)[:, np.newaxis]
    aside = (start + end) / 2 + generator.normal(0, 0.2 * np.linalg.norm(end - start), 3)
    points = (1 - way) ** 2 * start + 2 * way * (1 - way) * aside + way**2 * end
    return points, np.linspace(*radii, 60)


def _draw_lesions(
    generator: np.random.Generator, lobes: tuple[Ellipsoid, ...], vessels: Tree
) -> tuple[Ellipsoid, ...]:
    """Draw two to five lesions; each is at that of eight random points in a lobe farthest from vessels."""
    lesions = []
    for radius in generator.uniform(0.11, 0.22, generator.integers(2, 6)):
        lobe = lobes[generator.integers(len(lobes))]
        places = np.array([lobe.random_point(generator, (0.2, 0.75)) for _ in range(8)], np.float32)
        centre = places[vessels.distance(places.T).argmax()].astype(np.float64)
        lesions.append(Ellipsoid(centre, radius * generator.uniform(0.8, 1.25, 3)))
    return tuple(lesions)


@dataclass(frozen=True)
class _Canvas:
    """An image onto which tissues are painted, each over the ones before."""

    image: Field
    edge: float
    tissues: dict[str, float]

    def paint(self, tissue: str, distance: Field, *, texture: Field | float = 1.0) -> None:
        """Paint a tissue over all points inside a surface, given their distance from it.

        Points on the surface get half of the tissue, like the partial volume effect.
        """
        inside = np.clip(0.5 - distance / np.float32(self.edge), 0, 1)
        self.image[...] += inside * (np.float32(self.tissues[tissue]) * texture - self.image)


def _paint_torso(canvas: _Canvas, patient: Patient, points: Field) -> Field:
    """Paint fat under the skin, the muscle wall, and fat with bowel in the cavity.

    Return the distance from the wall of the cavity.
    """
    width, depth = patient.girth
    level = (np.abs(points[0] / width) ** 2.6 + np.abs(points[1] / depth) ** 2.6) ** np.float32(1 / 2.6)
    skin = (level - 1) * np.float32(depth)
    cavity: Field = skin + np.float32(patient.fat + patient.wall)
    canvas.paint("fat", skin)
    canvas.paint("muscle", skin + np.float32(patient.fat))
    canvas.paint("fat", cavity)
    canvas.paint("bowel", np.maximum(patient.bowel.at(points)[0], cavity))
    return cavity


def _paint_neighbours(canvas: _Canvas, patient: Patient, points: Field, cavity: Field) -> None:
    """Paint organs that are not labelled but look like parts of the labelled organ."""
    distances = {
        name: np.maximum(union([shape.distance(points) for shape in shapes]), cavity)
        for name, shapes in patient.neighbours.items()
    }
    canvas.paint("lung", distances["lung"])
    canvas.paint("muscle", distances["heart"])
    canvas.paint("vessel", distances["heart"] + np.float32(0.10))
    canvas.paint("spleen", distances["spleen"])
    canvas.paint("muscle", distances["stomach"])
    canvas.paint("stomach", distances["stomach"] + np.float32(0.04))
    canvas.paint("cortex", distances["kidney"])
    canvas.paint("medulla", distances["kidney"] + np.float32(0.06))


def _paint_spine(canvas: _Canvas, points: Field) -> None:
    """Paint back muscles, vertebrae with discs between them, the spinal canal, and the aorta in front."""
    phase = np.cos(points[2] * np.float32(2 * np.pi / 0.42))
    body = cylinder(points, at=(0.0, -0.36), radius=0.15) + np.float32(0.012) * (1 - phase)
    canvas.paint("muscle", union([cylinder(points, at=(x, -0.52), radius=0.17) for x in (-0.2, 0.2)]))
    canvas.paint("bone", body)
    canvas.paint("marrow", body + np.float32(0.03))
    canvas.paint("disc", np.maximum(body, (np.float32(0.85) - phase) * np.float32(0.1)))
    canvas.paint("bone", cylinder(points, at=(0.0, -0.57), radius=0.09))
    canvas.paint("fluid", cylinder(points, at=(0.0, -0.57), radius=0.06))
    canvas.paint("vessel", cylinder(points, at=(-0.1, -0.15), radius=0.06))


def _paint_organ(canvas: _Canvas, patient: Patient, points: Field, cavity: Field) -> NDArray[np.uint8]:
    """Paint the organ with its vessels and lesions; return the label of every point."""
    grain = patient.grain.at(points)[0]
    lobes = union([lobe.distance(points) for lobe in patient.lobes], blend=0.04)
    organ = np.maximum(lobes + patient.relief.at(points)[0], cavity)
    vessels = patient.vessels.distance(points)
    blobs = union([lesion.distance(points) for lesion in patient.lesions]) + np.float32(0.012) * grain
    lesions = np.maximum(blobs, organ)
    canvas.paint("organ", organ, texture=1 + np.float32(0.03) * grain)
    canvas.paint("vessel", vessels)
    canvas.paint("lesion", lesions, texture=1 + np.float32(0.10) * grain)
    labels = np.zeros(points.shape[1:], np.uint8)
    for label, distance in ((ORGAN, organ), (VESSEL, vessels), (LESION, lesions)):
        labels[distance < 0] = label
    return labels
