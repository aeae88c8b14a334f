"""The decomposition methods by their names in compress.method."""

from app.compress.fits.baselines import ChannelMethod, SpatialMethod
from app.compress.fits.dwd import DepthwiseMethod
from app.compress.fits.method import DecompositionMethod
from app.compress.fits.settings import CompressSettings
from app.core.errors import InputError

DECOMPOSITIONS: dict[str, type[DecompositionMethod]] = {
    "dwd": DepthwiseMethod,
    "channel": ChannelMethod,
    "spatial": SpatialMethod,
}


def method_of(name: str, settings: CompressSettings) -> DecompositionMethod:
    """Return the method of a name.

    Raises:
        InputError: the name is unknown.
    """
    if name not in DECOMPOSITIONS:
        raise InputError(f"compress.method: got {name!r}, wanted one of {', '.join(DECOMPOSITIONS)}")
    return DECOMPOSITIONS[name](settings)
