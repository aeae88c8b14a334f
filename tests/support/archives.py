"""Tar archives made in memory, and the names in a folder."""

import io
import tarfile
from pathlib import Path

Member = tuple[str, bytes] | tarfile.TarInfo


def member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def folder_member(name: str) -> tarfile.TarInfo:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def tar_bytes(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for item in members:
            if isinstance(item, tarfile.TarInfo):
                tar.addfile(item, io.BytesIO(b"x" * item.size))
            else:
                tar.addfile(member(item[0], size=len(item[1])), io.BytesIO(item[1]))
    return buffer.getvalue()


GOOD: tuple[Member, ...] = (
    ("./._Task", b"AppleDouble"),
    folder_member("./Task"),
    ("./Task/dataset.json", b"{}"),
    ("./Task/._dataset.json", b"AppleDouble"),
    folder_member("./Task/.hidden"),
    ("./Task/.hidden/file", b"hidden"),
    ("./Task/imagesTr/a.nii.gz", b"a" * 1000),
)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
