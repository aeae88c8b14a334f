import errno
import gzip
import os
import re
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InputError
from app.io.dicom_files import is_dicom
from app.io.faults import faults_named
from app.io.privacy import known_as
from app.io.volumes import read_header


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


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.dcm", "a"])
def test_a_file_that_its_owner_does_not_allow_is_named_in_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended each command in a traceback, as its start is read to recognise DICOM."""
    path, usual = tmp_path / name, Path.open
    path.touch()

    def refuse(self: Path, *args: Any, **named: Any) -> Any:
        if self == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return usual(self, *args, **named)

    monkeypatch.setattr(Path, "open", refuse)
    told = rf"{re.escape(str(path))}: cannot be read \({os.strerror(errno.EACCES)}\)"
    with pytest.raises(InputError, match=told):
        read_header(path)
    with pytest.raises(InputError, match=told):
        is_dicom(path)
    assert known_as({path: "a"}, anonymous=True)[path].name == "a"
