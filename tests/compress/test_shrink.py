"""A trained network keeps sub-kernels: known ones are found, fits lose less than cuts, weights carry over."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import app.compress.shrink as shrink_module
from app.compress.fits.conv_fit import UNKNOWN
from app.compress.fits.samples import Rows, sample_rows
from app.compress.fits.subkernels import fit_kernels, refit_kernels, taps_of
from app.compress.methods import method_of
from app.compress.network import decompose, trained_network
from app.compress.shrink import Shrunk, shrink
from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout
from app.layers.candidates import taps_in
from app.models.model import Shape
from app.models.network import NetworkSpec, design
from app.models.unet import UNetModel
from app.operators.dwsep import DepthwiseSeparable
from app.operators.mixed import Mixed
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from app.operators.vocabulary import vocabulary
from app.search.costs import Budget, MacsCost
from app.search.decode import best_under_budget
from app.search.inherit import inherit
from app.search.penalty import super_convolutions
from app.search.search import searched_sites
from tests.support.config import COMPRESS

KERNELS = vocabulary("123d", "")
CUBE, LINE = Kernel((3, 3, 3)), Kernel((3, 1, 1))
SHAPE = Shape(1, 2, (6, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, (8, 8, 8))
UNET = UNetModel("plain", 2, 1, True)
DENSE = design(UNET, SHAPE, Conv3d(), None)


def smooth(count: int, channels: int, size: int) -> torch.Tensor:
    """Volumes whose neighbouring voxels resemble each other, as those of scans do."""
    noise = torch.randn(count, channels, size, size, size)
    return nn.functional.avg_pool3d(noise, 3, 1, 1) * 3


def searched(where: str = "all", kernels: str = "123d") -> NetworkSpec:
    return design(UNET, SHAPE, SuperNet(kernels, where, "sampled", "separate", 0.1), None)


def shrunk(network: nn.Module, share: float, *, distill: bool = True, kernels: str = "123d") -> Shrunk:
    spec = searched(kernels=kernels)
    sites = searched_sites(spec)
    torch.manual_seed(1)
    return shrink(
        *(DENSE, network.state_dict(), spec),
        lambda scores: best_under_budget(sites, scores, Budget(MacsCost(), share), align=1),
        [smooth(2, 1, 8) for _ in range(2)],
        distill=distill,
        rows=400,
        seed=0,
        advance=lambda: None,
    )


def dense_network() -> nn.Module:
    torch.manual_seed(0)
    return DENSE.build().eval()


def test_a_kernel_cut_out_loses_the_energy_of_the_other_taps() -> None:
    conv = nn.Conv3d(2, 1, 3, bias=False)
    nn.init.ones_(conv.weight)
    found = fit_kernels(conv, (LINE, CUBE), None, UNKNOWN)
    torch.testing.assert_close(found.errors, torch.tensor([[48 / 54], [0.0]], dtype=torch.float64))
    assert torch.equal(found.weights[0], torch.ones(1, 2, 3, 1, 1))


def test_fitted_kernels_lose_the_least_of_the_answer_that_their_taps_allow() -> None:
    """The error said is the one computed, below that of a cut, and no other weights do better."""
    torch.manual_seed(0)
    conv = nn.Conv3d(3, 4, 3, padding=1, bias=False)
    patches = [smooth(2, 3, 8)]
    rows = sample_rows(conv, {"": conv}, patches, rows=500, seed=0)[""]
    seen = rows.inputs.double().permute(1, 0, 2).flatten(1)
    seen = seen - seen.mean(0)
    answer = seen @ conv.weight.detach().double().flatten(1).T
    cut = fit_kernels(conv, KERNELS, None, UNKNOWN)
    fitted = fit_kernels(conv, KERNELS, rows, UNKNOWN)
    for index, kernel in enumerate(KERNELS):
        inside = seen[:, taps_of(kernel, conv)]
        lost, of_cut = (
            (answer - inside @ weights[index].double().flatten(1).T).square().mean(0) / answer.var(0)
            for weights in (fitted.weights, cut.weights)
        )
        torch.testing.assert_close(fitted.errors[index], lost, rtol=5e-3, atol=1e-9)
        best = answer - inside @ torch.linalg.lstsq(inside, answer).solution
        least = best.square().mean(0) / answer.var(0)
        if kernel != CUBE:
            assert (lost < of_cut).all() and (lost < 1.01 * least + 1e-3).all()
    assert fitted.errors[KERNELS.index(CUBE)].max() < 1e-12


def test_a_second_fit_makes_up_for_changed_inputs() -> None:
    """Inputs that are half of what they were want weights twice as large."""
    torch.manual_seed(0)
    conv = nn.Conv3d(2, 3, 3, padding=1, bias=False)
    rows = sample_rows(conv, {"": conv}, [smooth(2, 2, 8)], rows=800, seed=0)[""]
    halved = replace(rows, inputs=rows.inputs / 2)
    chosen = torch.tensor([1, 0, 1])
    weights = refit_kernels(conv, (LINE, CUBE), chosen, halved)
    torch.testing.assert_close(weights[1][[0, 2]], 2 * conv.weight.detach()[[0, 2]], atol=0.02, rtol=0.02)
    assert not weights[1][1].any() and not weights[0][[0, 2]].any() and weights[0][1].any()


def test_there_are_enough_rows_for_the_features_and_no_voxel_twice() -> None:
    first, second = nn.Conv3d(2, 3, 3, padding=1), nn.Conv3d(3, 1, 3, stride=4)
    convs = {"second": second, "first": first}
    patches = [torch.arange(2.0 * 8**3).view(1, 2, 8, 8, 8)] * 2
    found = sample_rows(nn.Sequential(first, second), convs, patches, rows=10, seed=0, per_feature=4)
    assert [(name, len(rows.outputs)) for name, rows in found.items()] == [("first", 216), ("second", 16)]
    assert len(found["second"].outputs.unique()) == 8
    few = sample_rows(nn.Sequential(first, second), convs, patches, rows=10, seed=0)
    assert [len(rows.outputs) for rows in few.values()] == [10, 10]


def test_fits_follow_the_network_from_input_to_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder's levels are listed from the finest on, but computed from the deepest on."""
    levels = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    spec = design(
        UNET, replace(SHAPE, widths=(4, 6, 8), strides=levels, kernels=((3, 3, 3),) * 3), Conv3d(), None
    )
    looked: list[tuple[str, ...]] = []

    def look(network: nn.Module, convs: dict[str, nn.Conv3d], **options: Any) -> dict[str, Rows]:
        looked.append(tuple(convs))
        return sample_rows(network, convs, **options)

    patches, weights = [smooth(2, 1, 8)], spec.build().state_dict()
    monkeypatch.setattr(shrink_module, "sample_rows", look)
    operator = SuperNet("123d", "all", "sampled", "separate", 0.1)
    super_network = design(UNET, spec.shape, operator, None)
    sites, budget = searched_sites(super_network), Budget(MacsCost(), 0.3)
    decode = partial(best_under_budget, sites, budget=budget, align=1)
    shrink(
        *(spec, weights, super_network, decode, patches),
        **{"distill": True, "rows": 100, "seed": 0, "advance": lambda: None},
    )
    settings = replace(COMPRESS, fit="asymmetric", rows=100)
    found = decompose(spec, weights, patches, method_of("dwd", settings), seed=0, advance=lambda: None)
    for names in ([name for (name,) in looked[1:]], list(found.chosen)):
        assert names[-2:] == ["decoder.1.0", "decoder.0.0"]
        assert not any(name.startswith("decoder") for name in names[:-2])


@pytest.mark.parametrize("distill", [True, False])
def test_kernels_that_a_network_has_already_are_found(distill: bool) -> None:
    """Channel c has weights on one kernel only; a budget of just that cost leaves everything as it was."""
    network = dense_network()
    _, paths = trained_network(DENSE, network.state_dict())
    sites = searched_sites(searched())
    wanted, spent, dense = {}, 0, 0
    for site in sites:
        conv = network.get_submodule(paths[site.conv.name])
        assert isinstance(conv, nn.Conv3d)
        voxels = MacsCost().group(site.conv, LINE, 1) // 3
        for channel in range(conv.out_channels):
            kernel = KERNELS[channel % 6]  # lines and planes
            kept = torch.zeros_like(conv.weight[channel])
            inside = (slice(None), *taps_in(kernel, (3, 3, 3)))
            kept[inside] = conv.weight.detach()[channel][inside]
            conv.weight.data[channel] = kept
            of_site = wanted.setdefault(site.conv.name, {})
            of_site[kernel] = of_site.get(kernel, 0) + 1
            spent, dense = spent + kernel.taps * voxels, dense + 27 * voxels
    found = shrunk(network, spent / dense * (1 + 1e-9), distill=distill)
    assert found.decoded.counts == wanted
    assert found.answer_lost < 1e-4


def test_fits_lose_less_of_the_answer_than_cuts() -> None:
    network = dense_network()
    lost = {distill: shrunk(network, 0.3, distill=distill).answer_lost for distill in (True, False)}
    assert 0 < lost[True] < 0.8 * lost[False]


def test_the_super_network_and_the_derived_network_are_what_was_fitted() -> None:
    network = dense_network()
    found, spec = shrunk(network, 0.3), searched()
    source = spec.build().eval()
    source.load_state_dict(found.weights)
    layout = Layout(found.decoded.counts)
    target = design(UNET, SHAPE, Mixed(layout), None).build().eval()
    sites = dict(zip(super_convolutions(source), searched_sites(spec), strict=True))
    inherit(target, source, sites, layout)
    torch.manual_seed(1)
    x = smooth(2, 1, 8)  # the patch by which the loss of the answer was measured
    with torch.no_grad():
        answer, ours = network(x), source.eval()(x)
        torch.testing.assert_close(target.eval()(x), ours, atol=1e-4, rtol=1e-4)
    energy = (answer - answer.mean(dim=(0, 2, 3, 4), keepdim=True)).square().sum()
    assert float((ours - answer).square().sum() / energy) == pytest.approx(found.answer_lost, rel=1e-3)


def test_what_cannot_shrink_is_refused_by_name() -> None:
    network = dense_network()
    with pytest.raises(InputError, match=r"search\.kernels") as error:
        shrunk(network, 0.3, kernels=["5x1x1", "3x3x3"])  # type: ignore[arg-type]
    assert "5x1x1" in str(error.value)
    other = design(UNET, SHAPE, DepthwiseSeparable(1), None)
    with pytest.raises(InputError, match=r"search\.model") as error:
        shrink(
            *(other, other.build().state_dict(), searched(), lambda _scores: None, [smooth(1, 1, 8)]),  # type: ignore[arg-type,return-value]
            distill=True,
            rows=10,
            seed=0,
            advance=lambda: None,
        )
    assert "op=conv3d" in str(error.value)
