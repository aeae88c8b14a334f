"""Pictures of a run's notable cases, for trackers."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.report.draw.pictures import fullest_planes
from app.report.read.ranking import notable_cases
from app.report.read.runs import read_runs
from app.report.read.scans import NotDrawable, read_scan


def case_pictures(run: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield names such as worst/axial with pictures (height, width, RGB); skip cases without files."""
    (read,) = read_runs([run.resolve()])
    for ranked in notable_cases(read):
        try:
            scan = read_scan(read, ranked.case)
        except NotDrawable:  # the report gives the reason
            continue
        for plane, figure in fullest_planes(scan, list(read.label_values.values())):
            yield f"{ranked.place}/{plane}".lower(), _pixels(figure)


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    figure.savefig(stream, format="rgba", facecolor="black")
    width, height = figure.canvas.get_width_height()
    return np.frombuffer(stream.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]
