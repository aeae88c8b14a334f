"""A picture of a layout: each convolution's kernels as stacked bars, with its cost next to them."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.core.files import atomic_path
from app.core.layout import Layout, read_layout
from app.report.draw.shares import draw_shares

_HEIGHT = 0.3  # inches per convolution
# Okabe and Ito's colours, which colour-blind readers can distinguish; they repeat after eight.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")


def write_layout_picture(layout_file: Path, output: Path) -> None:
    """Write a PNG of a layout file; costs are drawn if its provenance has them.

    Raises:
        InputError: the file is missing or is not a layout.
    """
    layout = read_layout(layout_file)
    costs = layout.provenance.get("costs", {})
    figure = Figure(figsize=(9, 1.6 + _HEIGHT * len(layout.convolutions)), layout="constrained")
    kernels, spent = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_kernels(kernels, layout)
    _draw_costs(spent, layout, costs if isinstance(costs, dict) else {})
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(_title(layout), fontsize=11)
    with atomic_path(output) as temporary:
        figure.savefig(temporary, dpi=130)


def _draw_kernels(axes: Axes, layout: Layout) -> None:
    rows = [*layout.convolutions.values()]
    found = {kernel for counts in rows for kernel in counts}
    kernels = sorted(found, key=lambda kernel: (kernel.taps, str(kernel)))
    draw_shares(axes, rows, kernels, lambda index: _COLORS[index % len(_COLORS)])
    names = [f"{name}  ({sum(counts.values())})" for name, counts in layout.convolutions.items()]
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlabel("share of output channels (number on the left)")


def _draw_costs(axes: Axes, layout: Layout, costs: dict[str, dict[str, float]]) -> None:
    """Draw the cost of each convolution, dense (pale) and with the layout (dark), in % of the dense total."""
    for kind, color in (("dense", "#d0d0d0"), ("layout", "#404040")):
        values = [100 * costs.get(name, {}).get(kind, 0.0) for name in layout.convolutions]
        axes.barh(range(len(values)), values, color=color, height=0.6, label=f"cost, {kind}")
    axes.set_xlabel(f"% of the dense {layout.provenance.get('unit', 'cost')}")


def _title(layout: Layout) -> str:
    known = layout.provenance
    share = known.get("share")
    cost = f", {100 * share:.1f} % of the dense {known.get('unit')}" if isinstance(share, float) else ""
    return f"{known.get('method', 'layout')}, task {known.get('task', '?')}{cost}"
