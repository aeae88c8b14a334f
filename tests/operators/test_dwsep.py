import pytest

from app.core.errors import InputError
from app.layers.cost import Cost
from app.operators import ConvSpec
from app.operators.dwsep import DepthwiseSeparable
from app.operators.plain import Conv3d


def test_cost_is_multiplier_times_in_times_taps_and_out() -> None:
    conv = ConvSpec("encoder.1.0", 8, 16, (3, 3, 3), (2, 2, 2))
    assert DepthwiseSeparable(2).cost(conv, (4, 4, 4)) == Cost(2 * 8 * (27 + 16), 8 * 2 * 8 * (27 + 16))


def test_the_few_channels_of_an_image_stay_dense() -> None:
    stem = ConvSpec("encoder.0.0", 2, 16, (3, 3, 3), (1, 1, 1))
    assert DepthwiseSeparable(1).cost(stem, (4, 4, 4)) == Conv3d().cost(stem, (4, 4, 4))
    with pytest.raises(InputError, match=r"op\.multiplier") as error:
        DepthwiseSeparable(0)
    assert "0" in str(error.value)
