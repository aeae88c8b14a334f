"""A network takes the weights of the search it comes from."""

from dataclasses import replace

import pytest
import torch

from app.core.errors import InputError
from app.core.layout import Layout
from app.models.model import Shape
from app.models.network import design
from app.models.unet import UNetModel
from app.operators.mixed import Mixed
from app.operators.supernet import SampledConv3d, SuperNet
from app.search.costs import Budget, MacsCost
from app.search.decode import best_under_budget
from app.search.inherit import inherit, slot_kernels
from app.search.penalty import super_convolutions
from app.search.search import network_scores, searched_sites

pytestmark = pytest.mark.e2e

TWO = (2, 2, 2)
SHAPE = Shape(2, 3, (8, 12, 16), ((1, 1, 1), TWO, TWO), ((3, 3, 3),) * 3, (8, 8, 8))
UNET = UNetModel(block="plain", encoder_blocks=2, decoder_blocks=2, deep_supervision=True)


@pytest.mark.parametrize("where", ["encoder", "all"])
@pytest.mark.parametrize("weights", ["shared", "separate"])
@pytest.mark.parametrize("reordered", [False, True])
def test_the_derived_network_equals_the_super_network_with_dead_gates(
    reordered: bool, weights: str, where: str
) -> None:
    """Also if someone changed the order of the kernels in layout.yaml."""
    torch.manual_seed(0)
    spec = design(UNET, SHAPE, SuperNet("123d", where, "sampled", weights, 0.1), None)
    source = spec.build()
    for parameter in source.parameters():
        if parameter.ndim == 1:  # norms that tell channels apart
            parameter.data.uniform_(0.5, 1.5)
    for part in super_convolutions(source).values():
        part.gates.data.uniform_(0.5, 1.5).mul_(torch.randn_like(part.gates).sign())
    sites = searched_sites(spec)
    counts = best_under_budget(sites, network_scores(source, sites), Budget(MacsCost(), 0.3), align=1).counts
    if reordered:
        counts = {name: dict(reversed(groups.items())) for name, groups in counts.items()}
    layout = Layout(counts)
    target = design(UNET, SHAPE, Mixed(layout), None).build()
    by_path = dict(zip(super_convolutions(source), sites, strict=True))
    chosen = {path: slot_kernels(source.get_submodule(path), site, layout) for path, site in by_path.items()}
    inherit(target, source, by_path, layout)
    for path, part in super_convolutions(source).items():
        assert isinstance(part, SampledConv3d)
        part.keep(chosen[path])
    x = torch.randn(1, 2, 8, 8, 8)
    torch.testing.assert_close(target.eval()(x), source.eval()(x), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_carried_is_named() -> None:
    residual = replace(UNET, block="residual")
    spec = design(residual, SHAPE, SuperNet("12d", "encoder", "sampled", "shared", 0.1), None)
    torch.manual_seed(0)
    source, sites = spec.build(), searched_sites(spec)
    for part in super_convolutions(source).values():
        part.gates.data.normal_()
    layout = Layout(
        best_under_budget(sites, network_scores(source, sites), Budget(MacsCost(), 0.2), align=1).counts
    )
    target = design(residual, SHAPE, Mixed(layout), None).build()
    with pytest.raises(InputError, match=r"train\.init") as error:
        inherit(target, source, dict(zip(super_convolutions(source), sites, strict=True)), layout)
    assert "model.block=plain" in str(error.value)
