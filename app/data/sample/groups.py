"""Groups of cases found by their names, such as the visits or the phases of one patient."""

import re
from collections import Counter
from collections.abc import Sequence

from app.core.task import GroupRule

_PATTERN = r"^(\D*\d+)[_.-]"
_SHARED = 0.5  # share of prefixes that several cases must have, so that groups are not an accident of naming
_LEAST = 5  # prefixes, one per fold; fewer probably name sequences, years or hospitals
_MOST = 8  # average cases per prefix; more probably belong to a year or a hospital than to a patient


def groups_by_prefix(ids: Sequence[str]) -> GroupRule | None:
    """Return the rule that keeps cases with the same prefix together; None if the names are not clear enough.

    They are clear if every id is a prefix, a word with a number, and something more (patient001_frame12), and
    if the prefixes differ in their numbers only, are at least _LEAST, are shared by several cases in at least
    half of them, and have at most _MOST cases on average.
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
