"""Settings of an analysis; their values are in conf/settings/analyze.yaml."""

from dataclasses import dataclass

from app.core.errors import InputError

OPTIMISERS = ("stage", "kernel", "mix")
ANALYZED_COSTS = ("params", "macs")


@dataclass(frozen=True)
class AnalyzeSettings:
    """The timing and the optimiser of an analysis, besides its table."""

    latency: bool
    """Whether each convolution is timed."""
    optimise: str | None
    """Optimiser to run; None for none.

    - stage: move blocks between levels.
    - kernel: choose sub-kernels.
    - mix: use depthwise filters, and choose how channels are mixed after them.
    """
    budget: float
    """Share of the cost that the optimised network may have.

    The cost is this network's own for stage and mix, and the dense network's for kernel.
    """
    cost: str
    """Kind of cost: params or macs."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.optimise is not None and self.optimise not in OPTIMISERS:
            raise InputError(f"analyze.optimise: got {self.optimise!r}, wanted stage, kernel or mix")
        if self.cost not in ANALYZED_COSTS:
            raise InputError(f"analyze.cost: got {self.cost!r}, wanted params or macs")
        if not self.budget > 0:
            raise InputError(f"analyze.budget: got {self.budget}, wanted above 0")
