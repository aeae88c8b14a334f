from dataclasses import replace

import pytest
import torch
from torch import nn

from app.compress.choices import PRICES
from app.compress.fits.conv_fit import following
from app.compress.fits.settings import FITS
from app.compress.methods import method_of
from app.compress.network import count_decomposable, decompose
from app.core.errors import InputError
from app.layers.cost import Cost
from app.models.model import Shape
from app.models.network import NetworkSpec, design, network_from
from app.models.unet import UNetModel
from app.operators import Operator
from app.operators.attention import Attended
from app.operators.cakes import Cakes
from app.operators.plain import Conv2d, Conv3d
from tests.support.config import COMPRESS

pytestmark = pytest.mark.e2e

SHAPE = Shape(1, 2, (8, 16), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, (8, 8, 8))


def network(operator: Operator, block: str = "plain") -> NetworkSpec:
    return design(UNetModel(block, 2, 1, True), SHAPE, operator, None)


def decomposed(
    spec: NetworkSpec, *, seed: int = 0, fitted_to: int = 2, unseen: bool = False, **changes: object
) -> tuple[NetworkSpec, float]:
    """The decomposed network, and how far its logits are from the original's, relative to them.

    Those of a patch it was fitted to, or of an `unseen` one.
    """
    torch.manual_seed(seed)
    settings = replace(COMPRESS, **changes)  # type: ignore[arg-type]
    original = spec.build().eval()
    *patches, another = (torch.randn(1, 1, 8, 8, 8) for _ in range(fitted_to + 1))
    done: list[None] = []
    found = decompose(
        *(spec, original.state_dict(), patches, method_of(settings.method, settings)),
        seed=0,
        advance=lambda: done.append(None),
    )
    assert len(done) == 2 * count_decomposable(spec)
    again = network_from(found.spec.describe()).build().eval()
    again.load_state_dict(found.weights)
    with torch.no_grad():
        patch = another if unseen else patches[0]
        wanted = original(patch)
        return found.spec, float((again(patch) - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(
    ("method", "unit", "block"),
    [
        ("dwd", "macs", "plain"),
        ("channel", "params", "plain"),
        ("spatial", "macs", "plain"),
        ("dwd", "params", "residual"),
    ],
)
def test_it_keeps_the_budget_and_rebuilds_itself(method: str, unit: str, block: str) -> None:
    spec = network(Attended(Conv3d(), "eca"), block)
    found, distance = decomposed(spec, method=method, cost=unit)
    after, before = (getattr(s.cost((8, 8, 8)), unit) for s in (found, spec))
    assert 0.35 < after / before <= 0.5 and 0 < distance < 1


@pytest.mark.parametrize("method", ["dwd", "spatial"])
def test_convolutions_within_slices_keep_their_kernels(method: str) -> None:
    found, distance = decomposed(network(Conv2d()), method=method, budget=0.7)
    kernels = {m.kernel_size for m in found.build().modules() if isinstance(m, torch.nn.Conv3d)}
    assert kernels == {(1, 3, 3), (1, 1, 1)} and distance < 1


def test_better_fits_come_nearer() -> None:
    ample = {"budget": 0.7, "seed": 2, "fitted_to": 24, "rows": 7200}
    distance = {fit: decomposed(network(Conv3d()), fit=fit, unseen=True, **ample)[1] for fit in FITS}
    assert distance["weights"] > distance["data"] > distance["sweeps"]
    assert distance["sweeps"] > max(distance["asymmetric"], distance["activation"])
    assert distance["asymmetric"] != distance["activation"]


@pytest.mark.parametrize(
    ("block", "activation", "count"), [("plain", "relu", 0), ("residual", "leaky_relu", 1)]
)
def test_the_fit_through_activations_says_where_it_does_not_apply(
    block: str, activation: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = UNetModel(block, 2, 1, True, activation=activation)
    spec = design(model, SHAPE, Conv3d(), None)
    decomposed(spec, fit="activation", rows=300)
    assert caplog.text.count("compress.fit=activation") == count


def test_a_relu_after_a_norm_is_known() -> None:
    block = nn.Sequential(nn.Sequential(nn.Conv3d(1, 4, 3), nn.GroupNorm(4, 4), nn.ReLU()))
    assert following(block, "0.0").slope == 0.0


def test_the_whole_budget_changes_nothing() -> None:
    found, distance = decomposed(network(Conv3d()), budget=1.0)
    assert distance == 0 and found.cost((8, 8, 8)) == network(Conv3d()).cost((8, 8, 8))


@pytest.mark.parametrize(("chain", "kernel"), [("2d1d", (1, 3, 3)), ("1d", (1, 3, 1))])
def test_chains_split_the_filters(chain: str, kernel: tuple[int, ...]) -> None:
    found, distance = decomposed(network(Conv3d()), chain=chain, budget=0.6)
    kernels = {tuple(m.kernel_size) for m in found.build().modules() if isinstance(m, torch.nn.Conv3d)}
    assert {(3, 1, 1), kernel} < kernels and distance < 1


def test_latency_is_measured_at_the_size_a_convolution_sees() -> None:
    price = PRICES["latency"]
    small, large = (price(lambda: torch.nn.Conv3d(8, 8, 3), Cost(0, 0), (8, n, n, n)) for n in (4, 32))
    assert 0 < small < large


def test_what_cannot_be_done_is_named() -> None:
    with pytest.raises(InputError, match=r"compress\.model"):
        decomposed(network(Cakes("1d", 1, None)))
    assert replace(COMPRESS, budget=0.01).budget == 0.01  # the setting is valid, this network needs more
    with pytest.raises(InputError, match=r"compress\.budget"):
        decomposed(network(Conv3d()), budget=0.01)
    with pytest.raises(InputError, match=r"compress\.method") as error:
        method_of("prune", COMPRESS)
    for token in ("prune", "dwd", "channel", "spatial"):
        assert token in str(error.value)
    for name, value in (("fit", "best"), ("cost", "joules"), ("chain", "4d"), ("budget", 2.0), ("rows", 0)):
        with pytest.raises(InputError, match=rf"compress\.{name}"):
            replace(COMPRESS, **{name: value})  # type: ignore[arg-type]
