"""The sub-kernels nearest to trained filters, as a layout to start a CAKES network from."""

from collections.abc import Mapping

import numpy as np
import torch

from app.compress.fits.depthwise import by_channel, from_weights
from app.compress.fits.separable import suggested_kernels
from app.core.kernel import Kernel
from app.core.layout import Layout
from app.core.types import Size, as_size
from app.operators.vocabulary import vocabulary

SHARE = 0.6
"""Share of a filter's energy that a sub-kernel must hold.

With equal taps a sub-kernel holds 3/27, 9/27 or all of it.
"""


def suggested_layout(convs: Mapping[str, torch.nn.Conv3d]) -> Layout:
    """Return a layout whose shares of kernels are those of the energy of the leading depthwise filters."""
    return Layout(
        {name: _groups(conv) for name, conv in convs.items()}, {"method": "natural kernels", "share": SHARE}
    )


def _groups(conv: torch.nn.Conv3d) -> dict[Kernel, int]:
    found = from_weights(by_channel(conv.weight), 1)
    kernel = as_size(conv.kernel_size)
    fitting = dict.fromkeys(known.within(kernel).size for known in vocabulary("123d", "natural layout"))
    kinds = suggested_kernels(found.filters.reshape(-1, *kernel), list(fitting), share=SHARE)
    energy: dict[Size, float] = {}
    for kind, weight in zip(kinds, found.mix.square().sum(dim=(1, 2)).tolist(), strict=True):
        energy[kind] = energy.get(kind, 0.0) + weight
    total = max(sum(energy.values()), float(np.finfo(float).tiny))
    return _whole({kind: part / total for kind, part in energy.items()}, conv.out_channels)


def _whole(shares: Mapping[Size, float], channels: int) -> dict[Kernel, int]:
    """Return whole channels by largest remainder; kernels without a channel are left out."""
    counts = {kind: int(share * channels) for kind, share in shares.items()}
    rest = sorted(shares, key=lambda kind: counts[kind] - shares[kind] * channels)
    for kind in rest[: channels - sum(counts.values())]:
        counts[kind] += 1
    return {Kernel(kind): count for kind, count in counts.items() if count}
