"""What is planned for the ten Decathlon tasks, on two cores and on an 80 GB GPU, as a Markdown table.

python -m tests.benchmarks.plans [overrides]

Scans are not needed: decathlon.yaml has sizes, spacings and extents of labels, which are taken as ellipsoids.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from app.cli.config.build import build_recipe, network_builder, plan_settings
from app.cli.config.task import TaskSettings
from app.core.plan import Normalisation, Plan
from app.core.task import Task
from app.core.types import Spacing, as_size, as_spacing, by
from app.data.plan.ceiling import kept
from app.data.plan.fingerprint import Fingerprint
from app.data.plan.label_coverage import label_coverage
from app.train.planning import Facts, plan_from
from tests.support.config import composed

DEVICES = {
    "two cores": "plan.device={kind: cpu, memory_gb: 16, gmac_per_s: 27}",
    "80 GB GPU": "plan.device={kind: cuda, memory_gb: 80, gmac_per_s: 10000}",
}
"""What is planned for. A step of `op=cakes` was measured at 27 GMAC a second on two cores with AVX-512."""
_INTENSITIES = {"CT": (-60.0, 220.0, 80.0, 60.0), "MRI": (100.0, 900.0, 450.0, 150.0)}
_CELLS = 32  # a scan's extents are divided into, to foretell how often a patch meets a label


def read_facts() -> dict[str, dict[str, Any]]:
    """Return what is known of each task."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(
        Path(__file__).with_name("decathlon.yaml").read_text(encoding="utf-8")
    )
    return found


def fingerprint_of(facts: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint of scans of a size, with labels as ellipsoids in their middle."""
    size, spacing = as_size(facts["size"]), as_spacing(facts["spacing"])
    whole = [voxels * mm for voxels, mm in zip(size, spacing, strict=True)]
    labels = [as_spacing(extent) for extent in facts["labels"].values()]
    kinds = [_INTENSITIES[kind] for kind in facts["channels"]]
    return Fingerprint(
        cases=facts["cases"],
        median_size=size,
        median_spacing=spacing,
        nonzero_share=(1.0,) * len(kinds),
        coverage=tuple(
            label_coverage(
                ellipsoid([_CELLS * mm / full for mm, full in zip(extent, whole, strict=True)], _CELLS), 2
            )[0]
            for extent in labels
        ),
        intensities=tuple(Normalisation("ct", *kind) for kind in kinds),
        brightest=tuple((kind[1], kind[1]) for kind in kinds),
        foreground_mm=as_spacing(facts.get("together") or np.max(labels, axis=0).tolist()),
        centres=((0.0, 0.0, 0.0),) * len(labels),
        oriented=True,
        duplicates=(),
    )


def ellipsoid(extents: Sequence[float], size: int | None = None) -> NDArray[np.uint8]:
    """Return the label map of an ellipsoid of so many voxels along (D, H, W), in the middle of a box."""
    box = [size or int(np.ceil(extent)) for extent in extents]
    grids = np.ogrid[tuple(slice(0, n) for n in box)]
    sides = zip(grids, box, extents, strict=True)
    distances = [((grid - (n - 1) / 2) / (max(1.0, extent) / 2)) ** 2 for grid, n, extent in sides]
    inside: NDArray[np.bool_] = (distances[0] + distances[1] + distances[2]) <= 1
    return inside.astype(np.uint8)


def ceiling_of(facts: Mapping[str, Any], grid: Spacing) -> float:
    """Return the mean Dice that the labels' ellipsoids keep on a grid."""
    factors = tuple(wanted / mm for wanted, mm in zip(grid, facts["spacing"], strict=True))
    found = []
    for extent in facts["labels"].values():
        mask = ellipsoid([mm / step for mm, step in zip(extent, facts["spacing"], strict=True)])
        around = np.pad(mask, [(int(2 * factor + 1),) * 2 for factor in factors])
        found.append(kept(around, 1, tuple(slice(0, n) for n in around.shape), factors))
    return float(np.mean(found))


def plan_task(name: str, facts: Mapping[str, Any], *overrides: str) -> Plan:
    """Return the plan of a task under overrides of the configuration."""
    cfg = composed(f"task={name}", *overrides)
    channels = tuple(facts["channels"])
    task = Task(name, channels, ("background", *facts["labels"]), ())
    settings = TaskSettings(**{**cfg.task, "steps": None})
    with tempfile.TemporaryDirectory() as place:
        known = Facts(
            fingerprint_of(facts),
            lambda grids: [ceiling_of(facts, grid) for grid in grids],
            Path(place) / "speeds.json",
        )
        plan, _ = plan_from(
            known,
            task,
            plan_settings(cfg),
            build=network_builder(cfg, task),
            recipe=build_recipe(cfg, task, settings),
        )
    return plan


def row(name: str, device: str, plan: Plan) -> str:
    """Return a row of the table."""
    stages = "1" if plan.locate is None else f"2, found at {_grid(plan.locate.spacing)} mm"
    sees = by(as_size([round(n * mm) for n, mm in zip(plan.patch, plan.spacing, strict=True)]))
    grids = (stages, _grid(plan.spacing), by(plan.patch), sees)
    cells = (name, device, f"{plan.minutes:.0f}", *grids, _widths(plan), str(plan.steps))
    return f"| {' | '.join(cells)} |"


def main(overrides: Sequence[str]) -> None:
    """See the module."""
    print("| task | device | minutes | stages | grid mm | patch | sees mm | channels | steps |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, facts in read_facts().items():
        for device, described in DEVICES.items():
            print(row(name, device, plan_task(name, facts, described, *overrides)), flush=True)


def _grid(spacing: Spacing) -> str:
    return "x".join(f"{mm:.3g}" for mm in spacing)


def _widths(plan: Plan) -> str:
    return f"{plan.widths[0]} to {plan.widths[-1]}"


if __name__ == "__main__":
    main(sys.argv[1:])
