"""manifest.json, a record of label maps next to them: the networks, settings and facts of each."""

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app import __version__
from app.core import run_folder
from app.core.csv_file import write_csv
from app.core.errors import InputError
from app.core.files import read_json, write_json
from app.core.machine import peak_bytes
from app.core.reading import Reading
from app.core.types import Labels
from app.infer.engines import NEEDS
from app.infer.engines.engine import precision_of
from app.infer.scan.segmenter import Segmenter
from app.io.label_values import count_integers
from app.layers.device_policy import precision_name

_MAKERS = ("digests", "engine", "precision", "sliding", "cleanup", "reading")
"""Facts at the head of a manifest that determine label maps."""


class Manifest:
    """The record of a folder of label maps; it is rewritten completely after each case."""

    def __init__(self, folder: Path, made_by: dict[str, Any]) -> None:
        self._path = folder / run_folder.MANIFEST
        before = read_json(self._path) if self._path.is_file() else {}
        if not isinstance(before, dict) or not isinstance(before.get("cases", {}), dict):
            raise InputError(f"{self._path}: is not a record of label maps; set another predict.output")
        self._cases: dict[str, Any] = dict(before.get("cases", {}))
        self._refused: dict[str, str] = {}
        self._made_by = made_by
        makers = {name: made_by.get(name) for name in _MAKERS}
        self._makers = json.loads(json.dumps(makers))  # as read from a file: tuples become lists

    def record(self, case: str, *, status: str, **facts: Any) -> None:
        """Record the status and facts of a case; cases not recorded now keep their earlier record.

        The networks and settings are recorded only if the status is `written`, because a case that failed may
        still have an earlier label map.
        """
        made_by = {"made_by": self._makers} if status == "written" else {}
        self._cases[case] = {"status": status, **facts, **made_by}
        self._write()

    def refuse(self, shown: str, error: str) -> None:
        """Record the error of a scan whose name belongs to another one, without changing any case."""
        self._refused[shown] = error
        self._write()

    def of(self, case: str) -> dict[str, Any]:
        """Return the record of a case; an empty one if the case is unknown."""
        return dict(self._cases.get(case, {}))

    def close(self) -> None:
        """Write the manifest a last time, and a table of the volumes of all label maps in ml."""
        self._write()
        done = {case: facts for case, facts in self._cases.items() if "volumes_ml" in facts}
        rows = [{"case": case, **_columns(facts["volumes_ml"])} for case, facts in sorted(done.items())]
        write_csv(self._path.with_name(run_folder.VOLUMES), rows, header=("case",))

    def _write(self) -> None:
        peak = {"peak_memory_mb": round(peak_bytes() / 1e6)}
        refused = {"refused": self._refused} if self._refused else {}
        write_json(self._path, {**self._made_by, **peak, **refused, "cases": self._cases})

    def by_others(self, cases: Iterable[str]) -> list[str]:
        """Return the cases for which other networks or settings, or none at all, are recorded.

        Records of older versions have no precision or reading: those computed in float32, and nearly all
        read scans as in training.
        """
        older = {"precision": "fp32", "reading": self._made_by.get("reading_trained")}
        found = {case: self._cases.get(case, {}).get("made_by") or {} for case in cases}
        return [case for case, makers in found.items() if {**older, **makers} != self._makers]


def _columns(volumes: Mapping[str, float]) -> dict[str, float]:
    """Return volumes by column; a label called case gets another name, as the first column has this one."""
    return {"case (label)" if name == "case" else name: volume for name, volume in volumes.items()}


def describe_segmenter(
    segmenter: Segmenter,
    runs: list[str],
    weights: str,
    engine: str,
    precision: str = "auto",
    *,
    trained: Reading | None = None,
) -> dict[str, Any]:
    """Return the head of a manifest: versions, networks and settings of the latest prediction.

    `engine` and `precision` are as set; the precision that `auto` chose is recorded as well. `trained` is how
    scans were read in training; None if the segmenter reads them so.
    """
    packages = ("torch", "numpy", "nibabel", "SimpleITK", *NEEDS.get(engine, ()))
    versions = {"app": __version__, "python": platform.python_version()}
    joining = {} if segmenter.joining_mm is None else {"joining_mm": segmenter.joining_mm}
    return {
        "versions": {**versions, **{name: version(name) for name in packages}},
        "model": [{"run": run, "weights": weights} for run in runs],
        "digests": list(segmenter.digests),
        "engine": engine,
        "precision": precision_name(precision_of(segmenter.members[0])),
        "precision_set": precision,
        "sliding": asdict(segmenter.sliding),
        "cleanup": {**asdict(segmenter.cleanup), **joining},
        "reading": segmenter.reading.to_dict(),
        "reading_trained": (trained or segmenter.reading).to_dict(),
        "labels": list(segmenter.labels),
        "label_values": list(segmenter.label_values),
    }


def volumes_ml(labels: Labels, voxel_mm3: float, names: tuple[str, ...]) -> dict[str, float]:
    """Return the volume of each foreground label in millilitres."""
    counts = count_integers(labels, len(names))
    return {
        name: round(int(counts[value]) * voxel_mm3 / 1000, 4) for value, name in enumerate(names) if value
    }
