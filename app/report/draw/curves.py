"""Learning curves: training loss, validation Dice and learning rate against the step."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.report.draw.chart import INK, Chart, Key, chart, key, series_color, series_dash
from app.report.read.runs import Run

_FEW_POINTS = 25  # up to this many, every point gets a dot; more dots would merge into the line


@dataclass(frozen=True)
class Line:
    """A line of a chart; a `series` of None draws it in ink."""

    points: list[tuple[float, float]]
    series: int | None


def curves(runs: Sequence[Run], labels: Sequence[str]) -> list[Chart]:
    """Return the charts of metrics.csv: one line per label for a single run, else one line per run."""
    dice = _dice_of_run(runs[0], labels) if len(runs) == 1 else _dice_of_runs(runs, labels)
    loss = _chart("Training loss", "loss", _each(runs, "train_loss"))
    rate = _chart("Learning rate", "learning rate", _each(runs, "lr"), height=1.7)
    return [drawn for drawn in (loss, *dice, rate) if drawn is not None]


def legend(runs: Sequence[Run], labels: Sequence[str]) -> list[Key]:
    """Return the legend of the curves' colours."""
    if len(runs) > 1:
        return [key(run.name, index) for index, run in enumerate(runs)]
    keys = [key(label, index) for index, label in enumerate(labels)]
    return keys if len(keys) == 1 else [Key("mean over labels", None), *keys]


def _dice_of_run(run: Run, labels: Sequence[str]) -> list[Chart | None]:
    lines = [Line(_points(run, f"val_dice_{label}"), index) for index, label in enumerate(labels)]
    if len(lines) != 1:  # with one label the mean would cover its line
        lines.insert(0, Line(_points(run, "val_dice_mean"), None))
    return [_chart("Validation Dice", "Dice", lines, unit_range=True)]


def _dice_of_runs(runs: Sequence[Run], labels: Sequence[str]) -> list[Chart | None]:
    return [
        _chart(f"Validation Dice, {name}", "Dice", _each(runs, f"val_dice_{name}"), unit_range=True)
        for name in (labels if len(labels) == 1 else ("mean", *labels))
    ]


def _each(runs: Sequence[Run], column: str) -> list[Line]:
    alone = len(runs) == 1
    return [Line(_points(run, column), None if alone else index) for index, run in enumerate(runs)]


def _points(run: Run, column: str) -> list[tuple[float, float]]:
    metrics = run.metrics or {}
    pairs = zip(metrics.get("step", []), metrics.get(column, []), strict=False)
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def _chart(
    title: str, y_name: str, lines: Sequence[Line], *, unit_range: bool = False, height: float = 2.6
) -> Chart | None:
    drawn = [line for line in lines if line.points]
    if not drawn:
        return None

    def draw(axes: Axes) -> None:
        for line in drawn:
            _draw_line(axes, line)
        _draw_axes(axes, y_name)
        if unit_range:
            axes.set_ylim(-0.02, 1.02)

    return chart(title, _in_words(title, drawn), draw, height=height)


def _draw_line(axes: Axes, line: Line) -> None:
    index = line.series
    axes.plot(
        *zip(*line.points, strict=True),
        color=INK if index is None else series_color(index),
        linestyle="solid" if index is None else series_dash(index),
        linewidth=1.5,
        marker="o" if len(line.points) <= _FEW_POINTS else None,
        markersize=2.6,
    )


def _draw_axes(axes: Axes, y_name: str) -> None:
    axes.set_xlabel("step")
    axes.set_ylabel(y_name)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_step_text))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(axis="y", scilimits=(-2, 4))


def _step_text(step: float, _: int | None = None) -> str:
    return f"{step / 1000:g}k" if abs(step) >= 10_000 else f"{step:g}"


def _in_words(title: str, lines: Sequence[Line]) -> str:
    ends = ", ".join(f"{line.points[-1][1]:.4g}" for line in lines)
    return f"{title} against step; last value{'s' if len(lines) > 1 else ''} {ends}"
