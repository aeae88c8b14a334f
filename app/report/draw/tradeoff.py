"""Charts of accuracy against cost: one point per group of runs, and a line through the best groups."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter

from app.report.compare.groups import Comparison, Group
from app.report.draw.chart import INK, MUTED, Chart, Key, chart, key, series_color
from app.report.read.runs import Run
from app.report.wording import mean, scaled

CostOf = Callable[[Run], float | None]


@dataclass(frozen=True)
class Point:
    """A group with its number on the page, its mean cost, its mean Dice, and those of each of its runs."""

    number: int
    cost: float
    dice: float
    runs: tuple[tuple[float, float], ...]


def tradeoffs(comparison: Comparison) -> list[Chart]:
    """Return one chart of Dice against each cost in which at least two groups differ."""
    kinds: tuple[tuple[str, str, CostOf], ...] = (
        ("Dice against MACs", "MACs per patch", lambda run: run.summary.macs_per_patch),
        ("Dice against parameters", "parameters", lambda run: run.summary.params),
        ("Dice against training time", "seconds of training", lambda run: run.summary.train_seconds),
        ("Dice against latency", "ms per forward pass", lambda run: run.timing.forward_ms),
        ("Dice against step time", "ms per training step", lambda run: run.timing.step_ms),
    )
    drawn = []
    for title, unit, cost in kinds:
        points = _points(comparison.groups, cost)
        if len({point.cost for point in points}) > 1:
            drawn.append(_chart(title, unit, points))
    return drawn


def legend(comparison: Comparison) -> list[Key]:
    """Return the legend of the points' numbers and colours."""
    return [key(group.name, index) for index, group in enumerate(comparison.groups)]


def front(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front: no other point beats these in cost or Dice without a loss in the other."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.dice)):
        if not found or point.dice > found[-1].dice:
            found.append(point)
    return found


def _points(groups: Sequence[Group], cost: CostOf) -> list[Point]:
    points = []
    for number, group in enumerate(groups, start=1):
        pairs = ((cost(run), run.summary.mean_dice) for run in group.runs)
        known = tuple((x, y) for x, y in pairs if x and y is not None)
        x, y = mean(x for x, _ in known), mean(y for _, y in known)
        if x is not None and y is not None:
            points.append(Point(number, x, y, known))
    return points


def _chart(title: str, unit: str, points: Sequence[Point]) -> Chart:
    best = front(points)

    def draw(axes: Axes) -> None:
        axes.plot(
            [point.cost for point in best],
            [point.dice for point in best],
            color=MUTED,
            linewidth=1.2,
            drawstyle="steps-post",
        )
        for point in points:
            _draw_point(axes, point)
        draw_axes(axes, unit, [point.cost for point in points])

    alt = f"{title}; best: {', '.join(f'group {point.number}' for point in best)}"
    return chart(title, alt, draw, height=3.0)


def _draw_point(axes: Axes, point: Point) -> None:
    color = series_color(point.number - 1)
    if len(point.runs) > 1:
        costs, dice = zip(*point.runs, strict=True)
        axes.scatter(costs, dice, s=9, color=color, alpha=0.6, linewidths=0)
    axes.scatter([point.cost], [point.dice], s=34, color=color, linewidths=0)
    place = (point.cost, point.dice)
    axes.annotate(str(point.number), place, (5, 4), textcoords="offset points", color=INK, fontsize=10)


def draw_axes(axes: Axes, unit: str, costs: Sequence[float]) -> None:
    """Draw a logarithmic axis of costs with ticks that differ as text, and an axis of Dice."""
    span = max(costs) / min(costs)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(_ticks(span))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scaled(value, _digits(span))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(0.12)
    axes.set_xlabel(unit)
    axes.set_ylabel("mean Dice")


def _digits(span: float) -> int:
    """Return enough digits to distinguish ticks that are an eighth of the range of costs apart."""
    return 3 if span == 1 else max(3, 1 + math.ceil(-math.log10((span - 1) / 8)))


def _ticks(span: float) -> Locator:
    """Return ticks at round numbers for costs within a factor of 5, else at powers of ten."""
    if span < 5:
        return MaxNLocator(4)
    return LogLocator(subs=(1, 2, 5) if span < 30 else (1,))
