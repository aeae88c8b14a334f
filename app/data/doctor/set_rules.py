"""Rules for faults between cases: one function per kind of fault.

Each yields pairs of a case id ("" for the data set as a whole) and a finding.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.machine import memory_bytes
from app.core.task import GroupRule, Task
from app.core.types import by
from app.data.doctor.examine import Examined
from app.data.doctor.finding import SetFindings, error, note, warning
from app.data.prepare.prepare import GROWTH
from app.io.scan_paths import is_scan_file
from app.io.several import numbered_files

# Correlation of thumbnails above which scans are near duplicates. The two sides of one head reach 0.89, two
# people of similar build 0.92.
_ALIKE = 0.99
# Share of cases that are most like the case with the next number, above which such cases belong together.
_SIBLINGS = 0.25
# Such cases that may occur by chance in a data set of any size: two are expected, seven occur once in 200
# data sets.
_BY_CHANCE = 6

_FLOAT_BYTES = 4


def duplicate_image(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report scans with equal voxels: a network must not be scored on a scan that it trained on."""
    digests = {one.case.id: one.image.digest for one in examined if one.image}
    for case, others in _equal(digests).items():
        yield case, warning("duplicate_image", f"same scan as {others}", "keep one of them in dataset.json")


def duplicate_label(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report equal label maps of different scans: one is probably saved under the wrong name."""
    images = {one.case.id: one.image.digest for one in examined if one.image}
    digests = {one.case.id: one.label.digest for one in examined if one.label and set(one.label.values) - {0}}
    for case, others in _equal(digests).items():
        if any(images.get(case) != images.get(other) for other in others.split(", ")):
            yield (
                case,
                warning("duplicate_label", f"same label as {others}", "was it saved under the wrong name?"),
            )


def near_duplicate(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report scans with almost equal thumbnails: one patient twice, or one scan processed twice."""
    known = [one for one in examined if one.image]
    for first, second in np.argwhere(np.triu(_likeness(known), 1) > _ALIKE):
        one, other = known[first], known[second]
        assert one.image and other.image
        together = group is not None and group.key(one.case.id) == group.key(other.case.id)
        if one.image.digest != other.image.digest and not together:
            advice = "if both are of one patient, keep them in one fold with task.group"
            yield (
                one.case.id,
                warning("near_duplicate", f"scan is almost identical to that of {other.case.id}", advice),
            )


def sibling_numbers(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report that many cases are most like the next number's: two sides or visits of one patient."""
    known = [one for one in examined if one.image and _number(one) is not None]
    if group is not None or len(known) < 3:
        return
    numbers = np.array([_number(one) for one in known])
    most_alike = _likeness(known).argmax(axis=1)
    pairs = int((np.abs(numbers - numbers[most_alike]) == 1).sum())
    if pairs > max(_BY_CHANCE, _SIBLINGS * len(known)):
        yield (
            "",
            warning(
                "sibling_numbers",
                f"{pairs} of {len(known)} cases resemble most the case numbered just before or after them",
                "if these pairs are of one patient, keep them in one fold: "
                "task.group={pattern: '(\\d+)$', block: 2}",
            ),
        )


def too_large(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report scans that preparing refuses: too large for this machine or grown too much at the set's spacing.

    The set's spacing is the median over its scans.
    """
    known = [(one.case.id, one.image.header) for one in examined if one.image]
    median = np.median([sorted(header.spacing) for _, header in known], axis=0) if known else np.ones(3)
    for case, header in known:
        growth = math.prod(header.spacing) / float(np.prod(median))
        needed = _FLOAT_BYTES * header.channels * math.prod(header.size) * growth
        if needed > memory_bytes() or growth > GROWTH:
            spacing = " x ".join(f"{mm:.4g}" for mm in header.spacing)
            what = f"need {needed / 1e9:.0f} GB" if needed > memory_bytes() else f"grow {growth:.0f} times"
            found = f"{by(header.size)} voxels of {spacing} mm {what} at the set's spacing"
            yield (
                case,
                error("too_large", found, "are the lengths in its header millimetres? Correct the header"),
            )


def not_hounsfield(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report CT channels without negative values, because air and fat are below 0 in Hounsfield units.

    If no scan of the data set has negative values, all are scaled alike, and there is one note for the set.
    """
    for index, modality in enumerate(task.modalities):
        if modality.strip().upper() != "CT":
            continue
        channels = {
            one.case.id: one.image.channels[index]
            for one in examined
            if one.image and index < len(one.image.channels)
        }
        above = {case: each for case, each in channels.items() if 0 <= each.low < each.high}
        if len(above) == len(channels) > 1:
            low, high = min(each.low for each in above.values()), max(each.high for each in above.values())
            yield (
                "",
                note(
                    "not_hounsfield",
                    f"no CT scan has values below 0: all range from {low:g} to {high:g}",
                    "networks trained on them work only on scans scaled in the same way, "
                    "not in Hounsfield units",
                ),
            )
            continue
        for case, each in above.items():
            yield (
                case,
                warning(
                    "not_hounsfield",
                    f"CT from {each.low:g} to {each.high:g}, no values below 0",
                    "was it exported without the rescale intercept? All cases should be in Hounsfield units",
                ),
            )


def unlisted(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report scans in the folders of listed scans that dataset.json does not list.

    None is named if cases are named after patients, because they may be too.
    """
    listed = {file for case in task.cases for file in (case.image, *numbered_files(case.image))}
    folders = {case.image.parent for case in task.cases}
    files = {path for folder in folders for path in folder.iterdir() if path.name[0] != "."}
    extra = sorted(path.name for path in files - listed if is_scan_file(path))
    if extra:
        advice = "list them with their labels in dataset.json to train on them"
        example = "" if any(case.hidden for case in task.cases) else f", such as {extra[0]}"
        yield "", note("unlisted", f"{len(extra)} scans are not listed{example}", advice)


def mixed_orientations(examined: Sequence[Examined], task: Task, group: GroupRule | None) -> SetFindings:
    """Report scans stored with different orders or directions of axes."""
    counts: dict[str, int] = defaultdict(int)
    for one in examined:
        if one.image:
            counts[one.image.header.orientation] += 1
    if len(counts) > 1:
        shown = ", ".join(f"{count} {codes}" for codes, count in sorted(counts.items()))
        advice = "nothing to do; all are reoriented when they are prepared"
        yield "", note("mixed_orientations", f"scans are stored as {shown}", advice)


def _equal(digests: dict[str, str]) -> dict[str, str]:
    """Return, for each case that shares its digest, the ids of the others with that digest."""
    ids: dict[str, list[str]] = defaultdict(list)
    for case, digest in digests.items():
        ids[digest].append(case)
    return {
        case: ", ".join(other for other in ids[digest] if other != case)
        for case, digest in digests.items()
        if len(ids[digest]) > 1
    }


def _likeness(known: Sequence[Examined]) -> NDArray[np.float32]:
    """Return the correlations (n, n) of the cases' thumbnails, with zeros on the diagonal."""
    if not known:
        return np.zeros((0, 0), dtype=np.float32)
    pictures = np.stack([one.image.thumbnail for one in known if one.image])
    likeness = pictures @ pictures.T
    np.fill_diagonal(likeness, 0)
    return np.asarray(likeness)


def _number(one: Examined) -> int | None:
    found = re.search(r"(\d+)$", one.case.id)
    return int(found.group(1)) if found else None


SET_RULES = (
    *(duplicate_image, duplicate_label, near_duplicate, sibling_numbers),
    *(too_large, not_hounsfield, unlisted, mixed_orientations),
)
