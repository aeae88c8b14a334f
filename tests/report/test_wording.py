"""Numbers as text."""

from app.report.wording import DASH, duration, probability, scaled


def test_wording() -> None:
    assert [scaled(value) for value in (12, 4.32e9, 999_999)] == ["12", "4.32 G", "1 M"]
    assert [probability(value) for value in (0.0213, 0.0004, None)] == ["0.021", "< 0.001", DASH]
    assert [duration(value) for value in (59, 61.5, 4000)] == ["59 s", "1 min 02 s", "1 h 06 min"]
