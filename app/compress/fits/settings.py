"""Settings of a compression; their values are in conf/settings/compress.yaml."""

from dataclasses import dataclass

from app.core.errors import InputError

FITS = ("weights", "data", "sweeps", "asymmetric", "activation")
COMPRESSED_COSTS = ("params", "macs", "latency")
CHAINS = ("none", "2d1d", "1d")


@dataclass(frozen=True)
class CompressSettings:
    """The method, budget and fit of a decomposition."""

    method: str
    """Name of the method: dwd, channel or spatial."""
    fit: str
    """Depth of the fit; each level includes the ones before it.

    - weights: no data is used.
    - data: the responses are fitted, channel by channel.
    - sweeps: channels compensate for each other's errors.
    - asymmetric: errors of earlier layers are compensated too.
    - activation: values that the activation cuts off are left free.
    """
    budget: float
    """Share of the whole network's cost that remains."""
    cost: str
    """Kind of cost: params, macs or latency."""
    chain: str
    """Split of depthwise filters: none, 2d1d (a 2D and a 1D filter) or 1d (three 1D filters)."""
    patches: int
    """Number of training patches that data are taken from."""
    rows: int
    """Number of places in the patches, for each convolution."""
    sweeps: int
    rounds: int
    """Steps of the fit through the activation."""
    finetune_rate: float
    """Factor on the learning rate if the compressed network is trained further."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name, known in (("fit", FITS), ("cost", COMPRESSED_COSTS), ("chain", CHAINS)):
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
        """Return whether the fit goes as far as `level`."""
        return FITS.index(self.fit) >= FITS.index(level)
