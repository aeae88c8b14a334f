"""manifest.json beside the label maps: by what each was made, and what is known of it."""

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app import __version__
from app.core import run_folder
from app.core.csv_file import write_csv
from app.core.files import read_json, write_json
from app.core.machine import peak_bytes
from app.core.types import Labels
from app.infer.engines import NEEDS
from app.infer.scan.segmenter import Segmenter
from app.io.label_values import count_integers

_MAKERS = ("digests", "engine", "sliding", "cleanup")
"""What decides about a label map, of the facts that a manifest opens with."""


class Manifest:
    """The record of a folder of label maps; rewritten whole after each case, so it is never behind."""

    def __init__(self, folder: Path, made_by: dict[str, Any]) -> None:
        self._path = folder / run_folder.MANIFEST
        before = read_json(self._path) if self._path.is_file() else {}
        self._cases: dict[str, Any] = dict(before.get("cases", {}))
        self._refused: dict[str, str] = {}
        self._made_by = made_by
        makers = {name: made_by.get(name) for name in _MAKERS}
        self._makers = json.loads(json.dumps(makers))  # as they are read again: tuples become lists

    def record(self, case: str, *, status: str, **facts: Any) -> None:
        """Put down what became of a case; what is known from before of a case that was kept stays.

        Only one whose status is `written` is said to be made by these networks: where one failed, a label map
        from before may still be there.
        """
        made_by = {"made_by": self._makers} if status == "written" else {}
        self._cases[case] = {"status": status, **facts, **made_by}
        self._write()

    def refuse(self, shown: str, error: str) -> None:
        """Put down a scan that has no name of its own here, beside the cases: they stay as they are."""
        self._refused[shown] = error
        self._write()

    def of(self, case: str) -> dict[str, Any]:
        """What is recorded of a case; nothing of an unknown one."""
        return dict(self._cases.get(case, {}))

    def close(self) -> None:
        """Write the manifest once more, and the volumes of all label maps as a table, in ml."""
        self._write()
        done = {case: facts for case, facts in self._cases.items() if "volumes_ml" in facts}
        rows = [{"case": case, **facts["volumes_ml"]} for case, facts in sorted(done.items())]
        write_csv(self._path.with_name(run_folder.VOLUMES), rows, header=("case",))

    def _write(self) -> None:
        peak = {"peak_memory_mb": round(peak_bytes() / 1e6)}
        refused = {"refused": self._refused} if self._refused else {}
        write_json(self._path, {**self._made_by, **peak, **refused, "cases": self._cases})

    def by_others(self, cases: Iterable[str]) -> list[str]:
        """Those of the cases that other networks or settings made, or that are not recorded as written."""
        return [case for case in cases if self._cases.get(case, {}).get("made_by") != self._makers]


def describe_segmenter(segmenter: Segmenter, runs: list[str], weights: str, engine: str) -> dict[str, Any]:
    """Versions, networks and settings, as the manifest opens with them: those that wrote to it last."""
    packages = ("torch", "numpy", "nibabel", "SimpleITK", *NEEDS.get(engine, ()))
    versions = {"app": __version__, "python": platform.python_version()}
    joining = {} if segmenter.joining_mm is None else {"joining_mm": segmenter.joining_mm}
    return {
        "versions": {**versions, **{name: version(name) for name in packages}},
        "model": [{"run": run, "weights": weights} for run in runs],
        "digests": list(segmenter.digests),
        "engine": engine,
        "sliding": asdict(segmenter.sliding),
        "cleanup": {**asdict(segmenter.cleanup), **joining},
        "labels": list(segmenter.labels),
        "label_values": list(segmenter.label_values),
    }


def volumes_ml(labels: Labels, voxel_mm3: float, names: tuple[str, ...]) -> dict[str, float]:
    """Millilitres of each foreground label."""
    counts = count_integers(labels, len(names))
    return {
        name: round(int(counts[value]) * voxel_mm3 / 1000, 4) for value, name in enumerate(names) if value
    }
