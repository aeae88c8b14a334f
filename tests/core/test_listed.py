from app.core.listed import listed


def test_the_first_names_and_how_many_more() -> None:
    assert listed(["a", 2]) == "a, 2"
    assert listed("abcdefg", 5) == "a, b, c, d, e and 2 more"
    assert listed([]) == ""
