"""The numbers of a compression; their values are in conf/config.yaml."""

from dataclasses import dataclass

from app.core.errors import InputError

FITS = ("weights", "data", "sweeps", "asymmetric", "activation")
COSTS = ("params", "macs", "latency")
CHAINS = ("none", "2d1d", "1d")


@dataclass(frozen=True)
class CompressSettings:
    """What is decomposed how far, and from what it is fitted."""

    method: str
    """dwd, channel or spatial."""
    fit: str
    """weights: no data. data: the responses, channels apart. sweeps: channels make up for each other.
    asymmetric: and for the layers before. activation: and what the activation cuts off is free."""
    budget: float
    """Share of the whole network's cost that is left."""
    cost: str
    """params, macs or latency."""
    chain: str
    """none, 2d1d or 1d: depthwise filters as they are, as a 2D and a 1D filter, or as three 1D filters."""
    patches: int
    """Training patches that data are taken from."""
    rows: int
    """Places in them for each convolution."""
    sweeps: int
    rounds: int
    """Steps of the fit through the activation."""
    finetune_rate: float
    """Of the learning rate, where the result is trained on."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name, known in (("fit", FITS), ("cost", COSTS), ("chain", CHAINS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"compress.{name}: got {getattr(self, name)!r}, wanted one of {', '.join(known)}"
                )
        if not 0 < self.budget <= 1:
            raise InputError(f"compress.budget: got {self.budget}, wanted above 0 and at most 1")
        if self.finetune_rate <= 0:
            raise InputError(f"compress.finetune_rate: got {self.finetune_rate}, wanted above 0")
        for name in ("patches", "rows", "sweeps", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"compress.{name}: got {getattr(self, name)}, wanted at least 1")

    def fits(self, level: str) -> bool:
        """Whether the fit goes as far as `level`."""
        return FITS.index(self.fit) >= FITS.index(level)
