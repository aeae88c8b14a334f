"""SHA-256 digests of plain values, files and bytes, in hexadecimal."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def digest_of(value: Any) -> str:
    """Return the digest of a plain value, independent of key order; non-JSON values are digested as text."""
    return digest_of_bytes([json.dumps(value, sort_keys=True, default=str).encode()])


def digest_of_bytes(parts: Iterable[bytes | memoryview]) -> str:
    """Return the digest of all parts, concatenated."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def digest_of_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
