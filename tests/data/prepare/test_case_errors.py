import re

import pytest

from app.core.errors import InputError
from app.core.task import Case
from app.data.prepare.case_errors import naming
from app.data.sets.decathlon import read_task
from tests.support.volumes import MakeTask

NEXT = "run the same command again"


def named(case: Case, message: str, times: int = 1) -> str:
    """The message of an error in blocks of a case, one within the other."""
    with pytest.raises(InputError) as error, naming(case):
        if times > 1:
            raise InputError(named(case, message, times - 1))
        raise InputError(message)
    return str(error.value)


@pytest.mark.parametrize("times", [1, 2])
def test_a_case_is_named_once_and_the_next_step_if_its_files_are_gone(
    make_task: MakeTask, times: int
) -> None:
    case, _ = read_task(make_task(cases=2)).cases
    for message in ("too dark", f"{case.image}: too dark", f"{case.image}: got blob_0011, wanted blob_002"):
        assert named(case, message, times) == f"case blob_001: {message}"
    for message in ("blob_001 is too dark", "case blob_001: too dark", "got blob_001, blob_002"):
        assert named(case, message, times) == message
    case.image.unlink()
    found = named(case, f"{case.image}: no such file", times)
    assert found.startswith(f"case blob_001: {case.image}: no such file; ")
    assert len(re.findall(NEXT, found)) == 1
