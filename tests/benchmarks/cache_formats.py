"""Formats a cache of prepared cases could have: size on disk and the time to cut a patch out.

python -m tests.benchmarks.cache_formats <folder of a prepared case>... (a folder with image.npy in it)
blosc2 and zarr are looked for and left out where they are not installed; the application needs neither.
"""

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app.data.prepare.cached_case import CachedCase

Open = Callable[[Path], Any]
Store = Callable[[Path, NDArray[np.float32]], None]
CHUNK = (1, 32, 32, 32)
PATCH, DRAWN = (40, 56, 56), 40


def main(folders: list[str]) -> None:
    """Print a row a format, over all cases."""
    table = Table("format", "MB", "ms a patch", "ms worst", "s to write")
    images = [CachedCase(folder, Path(folder)).image().whole(np.float32) for folder in folders]
    for name, (store, reopen) in formats().items():
        with tempfile.TemporaryDirectory() as temporary:
            paths = [Path(temporary) / f"{index}.{name.split()[0]}" for index in range(len(images))]
            started = time.perf_counter()
            for path, image in zip(paths, images, strict=True):
                store(path, np.asarray(image))
            written = time.perf_counter() - started
            spent = [read_ms(reopen, path, image.shape) for path, image in zip(paths, images, strict=True)]
            each = [value for values in spent for value in values]
            size = sum(file.stat().st_size for path in paths for file in files(path)) / 1e6
            table.add_row(name, f"{size:.1f}", f"{median(each):.2f}", f"{max(each):.1f}", f"{written:.1f}")
    Console(width=100).print(table)


def formats() -> dict[str, tuple[Store, Open]]:
    """How to write each format that is installed, and how to open it again."""
    found: dict[str, tuple[Store, Open]] = {
        "npy memory map": (np.save, lambda path: np.load(path, mmap_mode="r"))
    }
    if importlib.util.find_spec("blosc2"):
        import blosc2

        found["blosc2 lz4"] = (
            lambda path, image: blosc2.asarray(
                image, urlpath=str(path), chunks=within(CHUNK, image), cparams={"codec": blosc2.Codec.LZ4}
            ),
            lambda path: blosc2.open(str(path), mode="r"),
        )
    if importlib.util.find_spec("zarr"):
        import zarr

        found["zarr"] = (
            lambda path, image: zarr.create_array(str(path), data=image, chunks=within(CHUNK, image)),
            lambda path: zarr.open_array(str(path), mode="r"),
        )
    return found


def read_ms(reopen: Open, path: Path, shape: tuple[int, ...]) -> list[float]:
    """Milliseconds of cutting patches at random places, with the array opened each time, as training does."""
    rng = np.random.default_rng(0)
    spent = []
    for _ in range(DRAWN):
        starts = [rng.integers(0, max(1, n - m + 1)) for n, m in zip(shape[1:], PATCH, strict=True)]
        box = tuple(slice(start, start + m) for start, m in zip(starts, PATCH, strict=True))
        started = time.perf_counter()
        np.ascontiguousarray(reopen(path)[(slice(None), *box)])
        spent.append(1000 * (time.perf_counter() - started))
    return spent


def within(chunk: tuple[int, ...], image: NDArray[Any]) -> tuple[int, ...]:
    """A chunk no larger than the image."""
    return tuple(min(n, m) for n, m in zip(chunk, image.shape, strict=True))


def files(path: Path) -> list[Path]:
    """The files that an array of a format is made of."""
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


if __name__ == "__main__":
    main(sys.argv[1:])
