"""Arrays on a disk, which may have no room for them."""

from pathlib import Path

import pytest

from app.core.errors import InputError
from app.infer.scan.mapped import on_disk
from tests.support.cli import no_room


def test_an_array_has_zeros_and_its_room_from_the_beginning(tmp_path: Path) -> None:
    """A system kills a process that writes to mapped memory for which its disk has no room left."""
    array = on_disk((2, 3, 4), tmp_path / "new")
    assert array.shape == (2, 3, 4) and not array.any()
    with no_room(4095), pytest.raises(InputError) as error:
        on_disk((2, 512), tmp_path)
    assert str(tmp_path) in str(error.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]
