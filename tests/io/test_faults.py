import errno
import gzip
import os
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.io.faults import faults_named


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EIO, errno.EACCES])
def test_a_file_that_the_system_does_not_give_is_not_called_damaged(number: int) -> None:
    with pytest.raises(InputError, match=r"^a\.nii: ") as error, faults_named(Path("a.nii"), "NIfTI"):
        raise OSError(number, os.strerror(number), "a.nii")
    assert os.strerror(number) in str(error.value) and "damaged" not in str(error.value)


@pytest.mark.parametrize(
    "fault", [gzip.BadGzipFile("not gzip"), OSError(errno.EINVAL, "negative seek"), IndexError("odd")]
)
def test_whatever_a_library_says_of_the_content_is_damage(fault: Exception) -> None:
    with pytest.raises(InputError, match="damaged") as error, faults_named(Path("a.nii"), "NIfTI"):
        raise fault
    assert str(error.value).startswith("a.nii: ") and str(fault.args[-1]) in str(error.value)
