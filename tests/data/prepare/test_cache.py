import errno
import json
import os
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from app.core.digest import digest_of
from app.core.errors import InputError
from app.core.reading import Reading
from app.core.task import Task
from app.data.plan.fingerprint import read_fingerprint
from app.data.prepare import cache as cache_module
from app.data.prepare.cache import Cache
from app.data.prepare.cached_case import CachedCase
from app.data.sets.decathlon import read_task
from tests.support.cli import no_room
from tests.support.config import plan_for
from tests.support.volumes import MakeTask


def test_prepared_arrays_are_mapped_and_indexed(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=2, channels=2))
    cache = Cache(tmp_path / "cache", task, workers=2)
    cached = cache.prepare(plan_for(cache, task))["blob_001"]
    image, foreground = cached.image(), cached.foreground()
    labels = cached.labels().whole(np.uint8)[0]
    assert isinstance(image.stored, np.memmap) and (image.channels, image.size) == (2, (17, 22, 19))
    assert labels.shape == (17, 22, 19) and len(foreground) == labels.sum()
    assert all(labels[d, h, w] == label for label, d, h, w in foreground)


def test_a_second_run_reuses_and_a_changed_file_is_prepared_anew(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_task(cases=3)
    prepared: list[str] = []
    original = cache_module.read_case

    def counting(case, task):  # type: ignore[no-untyped-def]
        prepared.append(case.id)
        return original(case, task)

    monkeypatch.setattr(cache_module, "read_case", counting)

    def prepare() -> list[str]:
        task = read_task(folder)
        cache = Cache(tmp_path / "cache", task, workers=1)
        prepared.clear()
        cache.prepare(plan_for(cache, task))
        return sorted(prepared)

    assert prepare() == ["blob_001", "blob_002", "blob_003"]
    assert prepare() == []
    path = folder / "imagesTr" / "blob_002.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), path)
    assert prepare() == ["blob_002"]


def test_other_channels_or_label_names_are_prepared_separately(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = read_task(make_task(cases=1, channels=2))
    plan = plan_for(Cache(tmp_path / "cache", task, workers=1), task)

    def folder(task: Task) -> Path:
        return Cache(tmp_path / "cache", task, workers=1).fill(plan, mine=lambda _: ())["blob_001"].folder

    usual = folder(task)
    assert folder(replace(task, reading=Reading(("second", "first")))) != usual
    renamed = replace(task, labels=("background", "other"))
    assert folder(renamed) == usual  # labels of NIfTI files are found by value
    monkeypatch.setattr(cache_module, "holds_labels", lambda _: True)
    assert folder(renamed) != folder(task)


def test_two_runs_may_prepare_at_once(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=4))
    plan = plan_for(Cache(tmp_path / "cache", task, workers=1), task)
    errors: list[BaseException] = []

    def prepare() -> None:
        try:
            Cache(tmp_path / "cache", task, workers=2).prepare(plan)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for case in Cache(tmp_path / "cache", task, workers=1).prepare(plan).values():
        assert case.image().channels == 1
    hidden = list((tmp_path / "cache").rglob(".*"))
    assert hidden == []


def test_errors_name_case_what_and_path(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=3)
    path = folder / "labelsTr" / "blob_002.nii.gz"
    label = nib.load(path)
    nib.save(
        nib.Nifti1Image(np.asarray(label.dataobj), label.affine + np.eye(4) * [[0], [0], [2], [0]]), path
    )
    task = read_task(folder)
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_fingerprint(Cache(tmp_path / "cache", task, workers=2))
    for token in (r"\bblob_002\b(?!\.nii)", r"\b32 mm"):  # the case itself, and how far apart the grids are
        assert re.search(token, str(error.value))
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), label.affine), path)
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_fingerprint(Cache(tmp_path / "cache", read_task(folder), workers=2))
    for token in ("(3, 3, 3)", "(19, 22, 17)"):
        assert token in str(error.value)


def test_wrong_channels_are_named(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=1, channels=2)
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    facts["modality"] = {"0": "CT", "1": "PET", "2": "MRI"}
    (folder / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(InputError) as error:
        read_fingerprint(Cache(tmp_path / "cache", read_task(folder), workers=1))
    found = str(error.value).replace(str(folder), "")
    for token in (
        "blob_001",
        "2",
        "3",
        "CT",
        "PET",
        "MRI",
    ):  # channels found, channels wanted and their names
        assert re.search(rf"\b{token}\b", found)


def test_data_hash_depends_on_content_alone(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=2))
    first = Cache(tmp_path / "a", task, workers=1).data_hash()
    for case in task.cases:
        case.image.touch()
    assert Cache(tmp_path / "b", task, workers=1).data_hash() == first
    renamed = replace(task, labels=("background", "lump"))
    hashes = [first, Cache(tmp_path / "c", renamed, workers=1).data_hash()]
    for path in (task.cases[0].image, task.cases[1].label):
        image = nib.load(path)
        voxels = np.asarray(image.dataobj).copy()
        voxels[0, 0, 0] += 1
        nib.save(nib.Nifti1Image(voxels, image.affine), path)
        hashes.append(Cache(tmp_path / "c", task, workers=1).data_hash())
    assert len(set(hashes)) == 4


def test_a_damaged_cache_names_the_case_and_what_to_do(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=2))
    cache = Cache(tmp_path / "cache", task, workers=1)
    plan = plan_for(cache, task)
    case = cache.prepare(plan)["blob_002"]
    (case.folder / "image.npy").write_bytes((case.folder / "image.npy").read_bytes()[:200])
    (case.folder / "labels.npy").write_bytes(b"")
    for read, name in (
        (lambda: cache.prepare(plan), "image.npy"),
        (case.image, "image.npy"),
        (case.labels, "labels.npy"),
    ):
        with pytest.raises(InputError, match=re.escape(str(case.folder / name))) as error:
            read()
        assert_names_case_and_folder(str(error.value), case)
    (case.folder / "foreground.npy").unlink()
    with pytest.raises(InputError, match=re.escape(str(case.folder / "foreground.npy"))) as error:
        case.foreground()
    assert_names_case_and_folder(str(error.value), case)
    shutil.rmtree(case.folder)
    assert cache.prepare(plan)["blob_002"].labels().whole(np.uint8).any()


def test_a_cache_on_a_disk_that_is_gone_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **named: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(InputError, match="blob_001") as error:
        CachedCase("blob_001", tmp_path).image()
    for token in (str(tmp_path / "image.npy"), os.strerror(errno.ESTALE), "paths.cache"):
        assert token in str(error.value)
    assert "delete" not in str(error.value)


def assert_names_case_and_folder(message: str, case: CachedCase) -> None:
    """Assert that a message names the case, and apart from any file in it the folder to delete."""
    folder = re.escape(str(case.folder))
    assert re.search(rf"{folder}(?!/)\b", message)
    assert re.search(rf"\b{case.id}\b", re.sub(folder, "", message))


def test_a_full_disk_leaves_no_half_case(make_task: MakeTask, tmp_path: Path) -> None:
    task = read_task(make_task(cases=2))
    cache = Cache(tmp_path / "cache", task, workers=1)
    plan = plan_for(cache, task)
    before = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    case_folder = rf"{re.escape(str(tmp_path / 'cache'))}.*blob_00\d-\w+(?![\w/])"
    with no_room(1000), pytest.raises(InputError, match=case_folder) as error:
        cache.prepare(plan)
    assert ".npy" not in str(error.value)  # as the message about a damaged cache would have
    assert list((tmp_path / "cache").rglob("*.npy")) == []
    assert sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file()) == before
    assert cache.prepare(plan)["blob_001"].labels().whole(np.uint8).any()


@pytest.mark.parametrize("number", [None, errno.EIO])
def test_a_file_that_vanishes_while_it_is_hashed_names_its_case(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    task = read_task(make_task(cases=2))
    usual = cache_module.digest_of_file

    def failing(path: Path) -> str:
        if path != task.cases[1].image:
            return usual(path)
        if number is None:
            path.unlink()
            return usual(path)
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(cache_module, "digest_of_file", failing)
    with pytest.raises(InputError, match=f"^case blob_002: {re.escape(str(task.cases[1].image))}: ") as error:
        Cache(tmp_path / "cache", task, workers=1).data_hash()
    assert os.strerror(number or errno.ENOENT) in str(error.value)


def test_the_record_of_hashed_files_has_no_paths(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(cases=2, name="Task91_Brandauer")
    record = tmp_path / "cache" / "Task91_Brandauer" / "digests.json"
    first = Cache(tmp_path / "cache", read_task(folder), workers=1).digests()
    assert not any(word in record.read_text() for word in ("Brandauer", "blob", "/"))
    known = json.loads(record.read_text())
    files = sorted(folder.glob("*Tr/*.nii.gz"))
    assert len(known) == len(files) == 4

    old = {str(path): known[key] for path in files for key in known if key == digest_of(str(path))}
    marked = {path: [*entry[:2], entry[2][::-1]] for path, entry in old.items()}
    record.write_text(json.dumps(marked))  # as versions before wrote it; the marks show that it is read
    again = Cache(tmp_path / "cache", read_task(folder), workers=1).digests()
    assert set(again) == set(first) and not set(again.values()) & set(first.values())
    assert set(json.loads(record.read_text())) == set(known)
