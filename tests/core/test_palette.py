"""The grey values that are black and white."""

import numpy as np

from app.core.palette import grey_window


def test_grey_window_leaves_out_the_ends_and_what_is_no_number() -> None:
    image = np.arange(101.0).reshape(101, 1, 1)
    assert grey_window(image) == (1.0, 99.0)
    assert grey_window(np.concatenate([image, np.full((9, 1, 1), np.nan)])) == (1.0, 99.0)
    assert grey_window(np.full((2, 1, 1), np.inf)) == (0.0, 1.0)
