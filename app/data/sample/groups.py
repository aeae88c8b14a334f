"""Cases that belong together by their names: the visits or the phases of one patient."""

import re
from collections import Counter
from collections.abc import Sequence

from app.core.task import GroupRule

_PATTERN = r"^(\D*\d+)[_.-]"
_SHARED = 0.5  # of the prefixes that several cases must have, for names to be no accident
_LEAST = 5  # prefixes, one a fold: fewer are of sequences, years or hospitals
_MOST = 8  # cases a prefix in the mean: more are of a year or a hospital rather than of a patient


def groups_by_prefix(ids: Sequence[str]) -> GroupRule | None:
    """Return the rule that keeps cases of one prefix together; None where names do not surely say so.

    They do where every id is a word with a number and something more (patient001_frame12), these words
    differ in their numbers alone, there are enough of them, at least half are shared by several cases, and
    none by too many.
    """
    rule = GroupRule(_PATTERN, None)
    matches = [re.match(_PATTERN, case) for case in ids]
    prefixes = [match.group(1) for match in matches if match]
    if len(prefixes) < len(ids) or len({re.sub(r"\d+", "#", prefix) for prefix in prefixes}) != 1:
        return None
    counts = Counter(prefixes)
    shared = sum(1 for count in counts.values() if count > 1)
    sure = len(counts) >= _LEAST and shared >= _SHARED * len(counts) and len(ids) <= _MOST * len(counts)
    return rule if sure else None
