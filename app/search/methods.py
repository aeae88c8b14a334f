"""The search methods, and the settings of a search."""

from dataclasses import dataclass
from typing import Any

from app.core.errors import InputError


@dataclass(frozen=True)
class SearchMethod:
    """A method of searching: its super-network, its penalty, its length, and how the layout is chosen."""

    paths: str
    """The form of the super-network; see app.operators.supernet."""
    penalty: str
    """none, gates (L1 weighted by kernel cost) or budget (expected cost against the budget)."""
    decode: str
    """How the layout is chosen: top (per layer the C largest of n * C paths, whatever they cost), budget (the
    largest total score within the budget), evolve (the best of many layouts within the budget, each evaluated
    as a whole; without training, a random one), or race (the best of many networks within the budget, each
    trained by itself)."""
    length: int
    """Length of the training in planned trainings; 0: no training."""
    shrinks: bool = False
    """Whether it starts from a trained network."""


SEARCHED_COSTS = ("params", "macs", "latency")
SPACES = ("kernels", "network", "levels")
_MOST_UNITS = 8  # per layer; the effect of smaller units is below the noise of a trial

SEARCH_METHODS = {
    "race": SearchMethod(paths="sampled", penalty="none", decode="race", length=1),
    "evolve": SearchMethod(paths="sampled", penalty="none", decode="evolve", length=1),
    "gates": SearchMethod(paths="sampled", penalty="budget", decode="budget", length=1),
    "paper_cost": SearchMethod(paths="concatenated", penalty="gates", decode="top", length=1),
    "paper_performance": SearchMethod(paths="concatenated_random", penalty="none", decode="top", length=2),
    "distill": SearchMethod(paths="sampled", penalty="none", decode="budget", length=0, shrinks=True),
    "importance": SearchMethod(paths="sampled", penalty="none", decode="budget", length=0, shrinks=True),
    "random": SearchMethod(paths="sampled", penalty="none", decode="evolve", length=0),
}


@dataclass(frozen=True)
class SearchSettings:
    """The settings of a search; the values are in conf/search."""

    method: str
    """race, evolve, gates, paper_cost, paper_performance; distill or importance for the trained network of
    `model`; or random: a random layout or network within the budget, for comparison."""
    budget: float
    """Up to 1: share of the dense cost of the searched convolutions; above: the whole network's cost."""
    cost: str
    """params, macs or latency (milliseconds of one patch on this machine)."""
    limits: dict[str, float | None]
    """Further budgets by other kinds of cost, for race, evolve and random; they need not be used up."""
    kernels: Any
    """A named set, or a list of kernels."""
    where: Any
    """encoder, all, or a list of convolutions."""
    weights: str
    align: int | None
    """Channels per kernel are multiples of this; None: 16 for a latency budget, else 1."""
    temperature: float
    trials: int
    """Number of layouts that `evolve` evaluates."""
    strength: float | None
    """Weight of the penalty; None: 1e-4 for gates, as published, and 1 for budget."""
    latency_table: str | None
    """File of measured milliseconds; None: latency.json in the cache's folder."""
    model: str | None
    """Run folder of a trained dense network, for distill and importance."""
    patches: int
    """Batches of training patches that distill and importance use."""
    rows: int
    """Voxels in these patches per convolution."""
    space: str | None = None
    """kernels, network (also widths and decoder) or levels (also fewer levels).

    None: network for race, kernels for others.
    """
    networks: int | None = None
    """Networks at the start of a race; None: 12 if each trains for 100 steps or more at first, else 6."""
    steps: int | None = None
    """Steps of all trainings of a race together; None: as many as one planned training."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.method not in SEARCH_METHODS:
            raise InputError(f"search.method: got {self.method!r}, wanted one of {', '.join(SEARCH_METHODS)}")
        if self.way.shrinks != (self.model is not None):
            fitting = ", ".join(name for name, way in SEARCH_METHODS.items() if way.shrinks)
            raise InputError(
                f"search.model: got {self.model or 'none'} with search.method {self.method}, "
                f"wanted the run folder of a trained network with {fitting}, and none for the other methods"
            )
        if self.cost not in SEARCHED_COSTS:
            raise InputError(f"search.cost: got {self.cost!r}, wanted {', '.join(SEARCHED_COSTS)}")
        others = [cost for cost in SEARCHED_COSTS if cost != self.cost]
        if wrong := ({*self.limits} - {*SEARCHED_COSTS}) | ({*self.limited} - {*others}):
            raise InputError(
                f"search.limits: got {min(wrong)!r}, wanted {' or '.join(others)}, because search.budget "
                f"limits search.cost={self.cost}"
            )
        if self.limited and self.way.decode not in ("race", "evolve"):
            raise InputError(
                f"search.limits: search.method {self.method} does not support them; use race, evolve or "
                "random"
            )
        self._check_space()
        for name, value in {"budget": self.budget, **self.limits}.items():
            if value is not None and value <= 0:
                key = name if name == "budget" else f"limits.{name}"
                raise InputError(f"search.{key}: got {value}, wanted more than 0")
        least = 8 if self._timed else 1
        if self.align is not None and self.align < least:
            reason = " for latency" if self._timed else ""
            raise InputError(f"search.align: got {self.align}, wanted at least {least}{reason}")
        for name, least in (("trials", 1), ("patches", 1), ("rows", 1), ("networks", 2), ("steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"search.{name}: got {value}, wanted at least {least}")
        if self.strength is not None and self.strength < 0:
            raise InputError(f"search.strength: got {self.strength}, wanted 0 or more")

    def _check_space(self) -> None:
        free = ("race", "random")
        if self.space not in (None, *SPACES) or (self.draws_networks and self.method not in free):
            raise InputError(
                f"search.space: got {self.space!r} with search.method {self.method}, wanted kernels, or "
                "network or levels with race or random"
            )
        if self.space == "levels" and self.where not in ("encoder", "all"):
            raise InputError(
                f"search.space: got levels with search.where={self.where}, wanted search.where=encoder or "
                "all, because networks with fewer levels lack some convolutions"
            )

    @property
    def way(self) -> SearchMethod:
        """The method with the chosen name."""
        return SEARCH_METHODS[self.method]

    @property
    def draws_networks(self) -> bool:
        """Whether widths and decoder are chosen too."""
        return self.space in ("network", "levels") or (self.space is None and self.method == "race")

    @property
    def published(self) -> bool:
        """Whether the method is from the CAKES paper; these use the paper's optimizer."""
        return self.way.decode == "top"

    @property
    def path_weights(self) -> str:
        """Whether the super-network's kernels have shared or separate weights."""
        return "separate" if self.published or self.way.shrinks else self.weights

    @property
    def aligned(self) -> int:
        """The channels per kernel are multiples of this number."""
        if self.align is not None:
            return self.align
        return 16 if self._timed else 1

    @property
    def limited(self) -> dict[str, float]:
        """The limits that are set."""
        return {cost: value for cost, value in self.limits.items() if value is not None}

    @property
    def _timed(self) -> bool:
        return "latency" in (self.cost, *self.limited)

    @property
    def most_units(self) -> int | None:
        """Most units of channels into which a convolution is divided; None: each slot is a unit."""
        return _MOST_UNITS if self.way.decode in ("race", "evolve") else None

    @property
    def penalty_strength(self) -> float:
        """The weight of the method's penalty."""
        if self.strength is not None:
            return self.strength
        return 1e-4 if self.way.penalty == "gates" else 1.0
