import pytest
import torch
import torch.nn.functional as F

from app.compress.fits.activation import auxiliary, through_activation
from app.compress.fits.low_rank import principal_mix, regressed_mix


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_the_auxiliary_is_the_least_of_a_fine_grid(penalty: float, slope: float) -> None:
    torch.manual_seed(0)
    wanted = F.leaky_relu(torch.randn(200, dtype=torch.float64), slope)
    response = torch.randn(200, dtype=torch.float64)

    def cost(u: torch.Tensor) -> torch.Tensor:
        return (wanted - F.leaky_relu(u, slope)).square() + penalty * (u - response).square()

    u = auxiliary(wanted, response, penalty=penalty, slope=slope)
    grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    assert (cost(u) <= cost(grid[:, None]).amin(0) + 1e-9).all()


def test_the_published_form_for_a_plain_relu() -> None:
    u = auxiliary(torch.tensor([0.0, 2.0]), torch.tensor([-3.0, 1.0]), penalty=1.0, slope=0.0)
    assert u.tolist() == [-3.0, 1.5]


@pytest.mark.parametrize("seed", range(10))
def test_it_improves_what_comes_after_the_activation(seed: int) -> None:
    """Channel decomposition of a random layer to a third of its rank, with a free bias."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(500, 40, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(40, 12, generator=generator, dtype=torch.float64)
    y -= y.mean(0)
    encode, decode = principal_mix(y, 4)
    start = y @ encode @ decode

    def fit(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = target.mean(0)
        encode, decode = regressed_mix(y, target - mean, 4)
        return mean, y @ encode @ decode + mean

    before = float((y.relu() - start.relu()).norm())
    bias, after = through_activation(y.relu(), (torch.zeros(12), start), fit, slope=0.0)
    assert after < 0.98 * before and bias.shape == (12,)


def test_the_best_of_all_rounds_is_kept_and_not_the_last() -> None:
    wanted, offs = torch.ones(4, dtype=torch.float64), iter([0.5, 0.1, 2.0, 3.0])

    def fit(_target: torch.Tensor) -> tuple[float, torch.Tensor]:
        off = next(offs)
        return off, wanted + off

    found, error = through_activation(wanted, (9.0, wanted + 9), fit, slope=0.0, rounds=4)
    assert found == 0.1 and error == pytest.approx(0.2)
