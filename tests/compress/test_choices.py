"""Ranks with what they cost, and what the network's answer loses by each."""

import pytest
import torch

from app.compress.allocate import RankChoice
from app.compress.choices import judge, list_choices
from app.compress.fits.conv_fit import UNKNOWN, ConvTask
from app.compress.fits.samples import Rows
from app.compress.methods import method_of
from app.operators import ConvSpec
from app.operators.decomposed import Factors
from tests.support.config import COMPRESS

CONV = ConvSpec("encoder.0.1", 4, 6, (3, 3, 3), (1, 1, 1), (4, 5, 6))
DENSE = 4 * 6 * 27 * 120


def ranks(*errors: float) -> list[RankChoice]:
    made = [RankChoice(Factors("channel", rank, ((3, 3, 3),)), rank, e) for rank, e in enumerate(errors, 1)]
    return [*made, RankChoice(None, 100.0, 0.0)]


@pytest.mark.parametrize(
    ("name", "rank_cost"), [("dwd", 4 * (27 + 6) * 120), ("channel", (4 * 27 + 6) * 120)]
)
def test_every_rank_that_saves_something_and_the_dense_one(name: str, rank_cost: int) -> None:
    conv = torch.nn.Conv3d(4, 6, 3, padding=1)
    task = ConvTask(conv, Rows(torch.randn(4, 300, 27), torch.randn(300, 6)), UNKNOWN)
    choices = list_choices(CONV, task, method_of(name, COMPRESS))
    count = min(DENSE // rank_cost, 6)
    assert [choice.cost for choice in choices] == [rank_cost * (n + 1) for n in range(count)] + [DENSE]
    errors = [choice.error for choice in choices]
    assert errors == sorted(errors, reverse=True) and errors[-1] == 0 and errors[0] < 1


def test_errors_are_those_of_the_answer_and_what_lies_between_is_interpolated() -> None:
    """Ranks 1, 2 and 4 are tried: the answer loses 4, 1 and 1/4 times what the response does."""
    tried: list[int] = []

    def error(factors: Factors) -> float:
        tried.append(factors.rank)
        return {1: 2.0, 2: 0.25, 4: 0.01}[factors.rank]

    found = judge(ranks(0.5, 0.25, 0.1, 0.04, 0.02), error)
    assert tried == [1, 2, 4]
    between = 0.1 * 4 ** -(torch.log(torch.tensor(1.5)) / torch.log(torch.tensor(2.0)))
    wanted = [2.0, 0.25, float(between), 0.01, 0.02 / 4, 0.0]
    assert [choice.error for choice in found] == pytest.approx(wanted)
    assert [choice.cost for choice in found] == [1, 2, 3, 4, 5, 100]


def test_what_loses_nothing_is_measured_no_further() -> None:
    tried: list[int] = []

    def error(factors: Factors) -> float:
        tried.append(factors.rank)
        return 1e-4

    found = judge(ranks(0.5, 0.4, 0.3, 0.2), error)
    assert tried == [1] and [choice.error for choice in found] == pytest.approx([1e-4, 8e-5, 6e-5, 4e-5, 0])


def test_a_convolution_that_nothing_saves_stays_as_it_is() -> None:
    (dense,) = ranks()
    assert judge([dense], lambda _factors: 1.0) == [dense]
