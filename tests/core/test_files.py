import errno
import os
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.files import atomic_path, read_json, read_text, read_yaml, remove, write_json, write_text
from tests.support.cli import no_room


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_json_round_trip_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"dice": 0.5})
    assert read_json(tmp_path / "a.json") == {"dice": 0.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == {"dice": 0.5}


def test_read_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.json"):
        read_json(tmp_path / "missing.json")
    for text in ("{", "[" * 100_000, "9" * 5000):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match=r"bad\.json") as error:
            read_json(tmp_path / "bad.json")
        assert "JSON" in str(error.value)
    with pytest.raises(InputError, match="dir"):
        (tmp_path / "dir").mkdir()
        read_json(tmp_path / "dir")


def test_text_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a.yaml").write_text("name: Gefäß\r\n", encoding=encoding)
        assert read_text(tmp_path / "a.yaml") == "name: Gefäß\n"
        assert read_yaml(tmp_path / "a.yaml") == {"name": "Gefäß"}


@pytest.mark.parametrize("content", ["Gefäß".encode("latin-1"), "a: b".encode("utf-16"), None])
def test_what_is_no_text_is_named_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.txt"
    path.mkdir() if content is None else path.write_bytes(content)
    for read in (read_text, read_json, read_yaml):
        with pytest.raises(InputError, match=r"a\.txt") as error:
            read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "a: 2020-13-45", "[" * 10_000, "!!python/name:os.system"])
def test_read_yaml_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml") as error:
        read_yaml(tmp_path / "bad.yaml")
    assert "\n" not in str(error.value)


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with no_room(), pytest.raises(InputError, match=r"a\.txt") as error:
        write_text(path, "new")
    assert os.strerror(errno.EFBIG) in str(error.value) and "\n" not in str(error.value)
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "number",
    [
        *(errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ESTALE),
        *(errno.ENAMETOOLONG, errno.ENOTEMPTY),
    ],
)
def test_what_cannot_be_written_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(number, "refused", str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(InputError, match=r"a\.txt") as error:
        write_text(tmp_path / "a.txt", "new")
    assert os.strerror(number) in str(error.value)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no folder")
    with pytest.raises(InputError, match=r"b\.txt") as error:
        write_text(tmp_path / "a" / "b.txt", "new")
    cause = error.value.__cause__
    assert isinstance(cause, OSError) and cause.errno is not None
    assert os.strerror(cause.errno) in str(error.value)


def test_other_faults_of_the_system_keep_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text(encoding="utf-8")


def test_files_and_folders_are_removed_and_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(InputError) as error:
        remove(tmp_path / "file" / "below")
    assert str(tmp_path / "file" / "below") in str(error.value) and "\n" not in str(error.value)
    for name in ("missing", "link", "folder"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    remove(tmp_path / "file")
    assert not list(tmp_path.iterdir())
