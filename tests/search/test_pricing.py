"""What whole networks cost."""

import pytest

from app.search.pricing import Counted, Prices, laid_out_network
from tests.support.searching import DENSE, PATCH, small_space


@pytest.mark.parametrize("kind", ["params", "macs"])
def test_the_price_is_what_the_network_itself_costs(kind: str) -> None:
    counted = Counted(DENSE, PATCH, kind)
    for number in range(3):
        layout = small_space().random(number)
        cost = laid_out_network(DENSE, layout).cost(PATCH)
        known = cost.params if kind == "params" else cost.macs
        assert counted(layout) == known
        assert Prices({kind: 2.0 * known}, {kind: counted})(layout) == [0.5]
