"""The colours of labels, the same in every picture and on every page."""

_LABELS = ("#56B4E9", "#E69F00", "#F0E442", "#CC79A7", "#00B98A", "#FF7043", "#FFFFFF")
"""Wong's colours for colour blindness (Nature Methods 8, 441) that are bright enough on a grey scan."""


def label_color(index: int) -> str:
    """Return the colour of the label with this index; colours repeat after seven."""
    return _LABELS[index % len(_LABELS)]
