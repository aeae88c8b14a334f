import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.reading import Reading
from app.core.task import Case
from app.data.prepare import parallel
from app.data.prepare.parallel import fitting_workers, over_cases
from app.data.sets.decathlon import read_task
from tests.support.volumes import MakeTask


def test_results_are_in_the_order_of_the_cases(make_task: MakeTask) -> None:
    cases = read_task(make_task(cases=5)).cases
    found = over_cases("Naming", cases, lambda case: case.image.name, workers=3, reading=Reading())
    assert list(found.items()) == [(case.id, f"{case.id}.nii.gz") for case in cases]
    assert over_cases("Naming", (), lambda case: case.id, workers=3, reading=Reading()) == {}


def test_large_scans_are_worked_on_by_fewer(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_task(make_task(cases=2, shape=(10, 10, 10))).cases
    scan_bytes = parallel._COPIES * 4 * 1000
    for memory, workers in ((100 * scan_bytes, 8), (5 * scan_bytes, 3), (scan_bytes, 1)):
        monkeypatch.setattr(parallel, "memory_bytes", lambda memory=memory: memory)
        assert fitting_workers(cases, 8, Reading()) == workers
    unreadable = Case("x", Path("x.nii.gz"), None)
    assert fitting_workers([unreadable], 8, Reading()) == 8


def test_a_worker_that_dies_names_its_case(make_task: MakeTask) -> None:
    cases = read_task(make_task(cases=3)).cases

    def failing(error: Exception) -> Callable[[Case], None]:
        def work(case: Case) -> None:
            if case is cases[1]:
                raise error

        return work

    with pytest.raises(ZeroDivisionError) as caught:
        over_cases("Preparing cases", cases, failing(ZeroDivisionError("no")), workers=2, reading=Reading())
    (note,) = caught.value.__notes__
    for token in ("Preparing cases", rf"{cases[1].id}(?!\.)", re.escape(str(cases[1].image))):
        assert re.search(token, note)
    for error, token in (
        (MemoryError(), re.escape(str(cases[1].image))),
        (InputError("too dark"), "too dark"),
        (InputError("blob_002 is too dark"), "^blob_002 is too dark$"),  # not named a second time
    ):
        with pytest.raises(InputError) as refused:
            over_cases("Preparing cases", cases, failing(error), workers=2, reading=Reading())
        message = str(refused.value)
        assert re.search(token, message) and re.search(r"blob_002(?!\.)", message)


def test_the_channels_that_are_read_count(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of three scans of which words choose one, and another order, take their share of memory."""
    (case,) = read_task(make_task(cases=1, shape=(10, 10, 10))).cases
    folder = case.image.parent.parent / "inside"
    folder.mkdir()
    for name in ("t1", "t2", "pd"):
        shutil.copy(case.image, folder / f"{name}.nii.gz")
    scan = Case("a", folder, None)
    monkeypatch.setattr(parallel, "memory_bytes", lambda: 10 * parallel._COPIES * 4 * 1000)
    assert fitting_workers([scan], 8, Reading(("t2",))) == 7
    assert fitting_workers([scan], 8, Reading(("t2", "pd", "t1"))) == 2
    names = ("t1", "t2", "pd")
    assert fitting_workers([scan], 8, Reading("modality", modalities=names)) == 2
