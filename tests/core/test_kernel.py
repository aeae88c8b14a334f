import pytest

from app.core.errors import InputError
from app.core.kernel import Kernel


def test_text_and_back() -> None:
    for text, kernel in (("1x3x5", Kernel((1, 3, 5))), ("3x3x3d2", Kernel((3, 3, 3), 2))):
        assert Kernel.parse(text) == kernel and str(kernel) == text


@pytest.mark.parametrize("text", ["", "3x3", "2x3x3", "3x3x3d1", "3x3x3d", "0x1x1", "3x3x3x3", "axbxc"])
def test_what_is_no_kernel_is_named(text: str) -> None:
    with pytest.raises(InputError, match="here") as error:
        Kernel.parse(text, "here")
    for token in (repr(text), "1x3x3", "3x3x3d2"):  # what was given, and how kernels are written
        assert token in str(error.value)


def test_taps_extent_and_flattening() -> None:
    kernel = Kernel((3, 1, 5), dilation=2)
    assert (kernel.taps, kernel.extent) == (15, (5, 1, 9))
    assert kernel.within((1, 3, 3)) == Kernel((1, 1, 5), 2)
    assert kernel.within((1, 3, 1)) == Kernel((1, 1, 1))
