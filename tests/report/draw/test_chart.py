import warnings

from app.report.draw.chart import chart


def test_names_in_any_script_are_drawn_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = chart("Dice", "by label", lambda axes: axes.barh(["Gefäß", "腫瘍"], [0.9, 0.8]))
    assert "腫瘍" in drawn.svg and "Gefäß" in drawn.svg
