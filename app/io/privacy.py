"""Names of scans for results and messages without the patient's identity, which DICOM headers reveal."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.digest import digest_of
from app.core.errors import InputError
from app.core.hidden import HIDDEN, LEAST_LETTERS, hide_words
from app.io.dicom import list_series
from app.io.dicom_files import DicomFile, is_dicom, other_object
from app.io.links import files_below


@dataclass(frozen=True)
class Alias:
    """The name and path of a scan in results, records and messages."""

    name: str
    shown: str
    """The path of the scan, with a digest of its series UID in place of parts that identify the patient."""
    words: tuple[str, ...] = ()
    """Words that are hidden in messages."""
    telling: bool = False
    """Whether its name, a file or a folder of it names the patient."""
    path: str = ""
    """The path that `shown` stands for; empty if nothing is hidden."""

    def clean(self, message: str) -> str:
        """Return the message with `shown` in place of the path and other `words` hidden."""
        return hide_words(self.words, message.replace(self.path, self.shown) if self.path else message)


def known_as(
    names: Mapping[Path, str],
    *,
    anonymous: bool,
    beside: Mapping[Path, Path | None] | None = None,
    others: Collection[str] = (),
) -> dict[Path, Alias]:
    """Return the alias of each scan by path.

    With `anonymous`, a scan whose name identifies the patient is named by a digest of its series UID, and
    words that identify the patient are hidden in paths and messages. `beside` has the label map of each
    scan, whose path is searched for such words too. `others` are the names of further files in messages.
    """
    if not anonymous:
        return {scan: Alias(name, str(scan)) for scan, name in names.items()}
    labels = beside or {}
    return {scan: _alias(scan, name, labels.get(scan), others) for scan, name in names.items()}


def _alias(scan: Path, name: str, label: Path | None, others: Collection[str]) -> Alias:
    file = _first_dicom(scan)
    if file is None or file.identity_removed:
        return Alias(name, str(scan))
    telling = _Telling(file.patient)
    below = [part for path in files_below(scan) for part in path.relative_to(scan).parts]
    seen = {*scan.parts, *below, name, *(label.parts if label else ())}
    words = sorted(filter(telling, seen), key=len, reverse=True)
    digest = digest_of([file.series])[:10]
    parts = [f"{HIDDEN}_{digest}" if part in words else part for part in scan.parts]
    shown = str(Path(*parts))
    tags = tuple(value for value in file.patient if len(value) >= LEAST_LETTERS)
    called = f"scan_{digest}" if telling(name) else name
    hidden = (*words, *filter(telling, others), *tags)
    return Alias(called, shown, hidden, telling=bool(words), path=str(scan))


class _Telling:
    """A test of whether a text contains a patient's name, id or date of birth."""

    def __init__(self, patient: Sequence[str]) -> None:
        name, number, born = patient
        self._words = {word for word in _plain(name).split() if len(word) > 1}
        joined = [_plain(value).replace(" ", "") for value in (number, born)]
        if len(born) == 8:
            joined.append(born[6:] + born[4:6] + born[:4])
        self._within = {value for value in joined if len(value) >= LEAST_LETTERS}
        self._whole = {value for value in joined if value} - self._within

    def __call__(self, text: str) -> bool:
        plain = _plain(text)
        together = plain.replace(" ", "")
        words = set(plain.split())
        long = [word for word in self._words if len(word) >= LEAST_LETTERS]
        return bool(
            self._words & words
            or together in self._whole
            or any(value in together for value in self._within)
            or (len(long) > 1 and all(word in together for word in long))
        )


def _plain(text: str) -> str:
    """Return letters without accents and digits, in lower case, with other characters as spaces."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(letter for letter in folded if not unicodedata.combining(letter))
    return re.sub(r"[\W_]+", " ", kept).strip()


def _first_dicom(scan: Path) -> DicomFile | None:
    files = [scan] if scan.is_file() else files_below(scan)
    for file in files:
        try:
            if is_dicom(file) and not other_object(file):
                return list_series(file)[0].files[0]
        except InputError:
            continue
    return None
