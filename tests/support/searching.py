"""A small U-Net whose levels and kernels are searched."""

from functools import cache

from app.core.layout import Outline
from app.models.model import Shape
from app.models.network import design
from app.models.unet import UNetModel
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from app.search.costs import Site
from app.search.pricing import Counted, Prices, outline_of, outlined
from app.search.search import searched_sites
from app.search.space import Space, variants

PATCH = (16, 16, 16)
DENSE = design(
    UNetModel("plain", 2, 2, deep_supervision=True, decoder_width=0.5),
    Shape(1, 2, (16, 32, 64), ((1, 1, 1), (2, 2, 2), (2, 2, 2)), ((3, 3, 3),) * 3, PATCH),
    Conv3d(),
    None,
)
KERNELS = ("1x3x3", "3x1x1", "3x3x3", "5x1x1", "1x3x3d2")


@cache
def sites(outline: Outline) -> tuple[Site, ...]:
    operator = SuperNet(KERNELS, "all", "sampled", "shared", 0.1, unit=1, most_units=8)
    found = outlined(DENSE, outline)
    return searched_sites(design(found.model, found.shape, operator, None))


def small_space(share: float = 0.3, *, free: bool = True, params: float | None = None) -> Space:
    """Return the networks that cost this share of the dense one, and this share of its weights at most."""
    whole = DENSE.cost(PATCH)
    budgets = {"macs": share * whole.macs}
    if params is not None:
        budgets["params"] = params * whole.params
    prices = Prices(budgets, {kind: Counted(DENSE, PATCH, kind) for kind in budgets})
    planned = outline_of(DENSE)
    return Space(variants(planned) if free else (planned,), sites, prices, free)
