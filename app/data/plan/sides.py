"""Labels that name the two sides of the body; they are swapped in an image mirrored left to right."""

import math
import re
from collections.abc import Sequence

from app.core.errors import InputError
from app.core.task import Task
from app.core.types import Spacing
from app.io.label_values import listed_values

_OTHER = {
    **{"left": "right", "lh": "rh", "lt": "rt", "l": "r"},
    **{"sinister": "dexter", "sinistra": "destra", "sinistro": "destro"},
    **{"links": "rechts", "linke": "rechte", "linker": "rechter", "linkes": "rechtes"},
    **{"gauche": "droite", "izquierda": "derecha", "izquierdo": "derecho"},
}
"""Words for the left side, in English, Latin, Italian, German, French and Spanish, each with its opposite."""
_OTHER |= {right: left for left, right in _OTHER.items()}
_SHORT = ("l", "r")  # these name a side only at the beginning or end of a name, as in l_kidney and Lung_R
_ALONG = 0.85  # smallest left-right share of the distance between a symmetrical pair's centres


def mirrored_values(names: Sequence[str]) -> tuple[int, ...]:
    """Return for each label value the one it becomes in a mirror image, found by the names of the labels.

    A label without a partner keeps its value: if there is no `right atrium`, `left atrium` is one organ.
    """
    words = [_words(name) for name in names]
    places = {spelt: value for value, spelt in enumerate(words)}
    return tuple(places.get(_mirrored(spelt), value) for value, spelt in enumerate(words))


def plan_mirror(
    task: Task, centres: Sequence[Spacing | None], given: bool | Sequence[Sequence[int]] | None
) -> tuple[tuple[int, ...], str]:
    """Return the class that each class becomes in a mirror image, and the reason.

    There are none if nothing may be mirrored left to right. `centres` has the centre of classes 1, 2, ...,
    (D, H, W) in millimetres from the centre of the foreground; None for a label that is in no scan. `given`
    is the setting plan.mirror.

    Raises:
        InputError: `given` holds anything but pairs of distinct foreground label values.
    """
    same = tuple(range(len(task.labels)))
    if given is False:
        return (), "set by plan.mirror: nothing is mirrored left to right"
    if given is True:
        return same, "set by plan.mirror: labels keep their values in mirror images"
    if given is not None:
        return _swapped(_classes(given, task), len(same)), "set by plan.mirror"
    return _found_in_names(task, centres)


def _found_in_names(task: Task, centres: Sequence[Spacing | None]) -> tuple[tuple[int, ...], str]:
    """Return the classes in a mirror image, and the reason, from the names of labels and where they lie."""
    same = tuple(range(len(task.labels)))
    values = mirrored_values(task.labels)
    pairs = [(value, other) for value, other in enumerate(values) if value < other and values[other] == value]
    values = _swapped(pairs, len(same))
    halved = [one for one, other in pairs if other == task.ignore]
    if halved:
        return (), (
            f"the other side of {task.labels[halved[0]]} is ignored, so a mirror image would have a wrong "
            "label: nothing is mirrored left to right"
        )
    if not pairs:
        return (
            same,
            "no two label names differ by side of the body, so labels keep their values in mirror images",
        )
    named = ", ".join(f"{task.labels[one]} and {task.labels[other]}" for one, other in pairs[:2])
    more = f" and {len(pairs) - 2} more pairs" if len(pairs) > 2 else ""
    crooked = [pair for pair in pairs if not _symmetrical(centres[pair[0] - 1], centres[pair[1] - 1])]
    if crooked:
        one, other = (task.labels[value] for value in crooked[0])
        return (), (
            f"{one} and {other} are not on opposite sides, so a mirror image would show "
            "an impossible body: nothing is mirrored left to right"
        )
    return values, f"labels whose names give sides of the body swap in mirror images: {named}{more}"


def _classes(pairs: Sequence[Sequence[int]], task: Task) -> list[tuple[int, int]]:
    """Return pairs of classes for the pairs of label values that plan.mirror names.

    Raises:
        InputError: `pairs` are not pairs of distinct foreground label values.
    """
    known = task.label_values[: task.ignore]
    named = [value for pair in pairs for value in pair] if all(map(_is_pair, pairs)) else [0]
    if len(set(named)) < len(named) or not set(named) <= set(known[1:]):
        raise InputError(
            f"plan.mirror: got {list(pairs)}, wanted pairs of label values {listed_values(known[1:])}, each "
            "once, such as [[1, 2], [3, 4]]"
        )
    return [(known.index(one), known.index(other)) for one, other in pairs]


def _swapped(pairs: Sequence[tuple[int, int]], count: int) -> tuple[int, ...]:
    """Return the classes 0 .. count - 1 with the two of each pair swapped."""
    values = list(range(count))
    for first, second in pairs:
        values[first], values[second] = second, first
    return tuple(values)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(v, int) for v in pair)


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case; a capital within the name begins a new word."""
    return tuple(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name))


def _mirrored(words: tuple[str, ...]) -> tuple[str, ...]:
    ends = (0, len(words) - 1)
    return tuple(
        _OTHER.get(word, word) if word not in _SHORT or place in ends else word
        for place, word in enumerate(words)
    )


def _symmetrical(one: Spacing | None, other: Spacing | None) -> bool:
    """Return whether two centres lie opposite each other, left and right; True if a label is in no scan."""
    if one is None or other is None:
        return True
    way = [first - second for first, second in zip(one, other, strict=True)]
    length = math.hypot(*way)
    return length == 0 or abs(way[2]) >= _ALONG * length
