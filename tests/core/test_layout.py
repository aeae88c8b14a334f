from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.layout import Layout, format_kernel, parse_kernel, read_layout, write_layout

LAYOUT = Layout({"encoder.0.0": {(1, 3, 3): 8, (3, 1, 1): 8}, "encoder.0.1": {(3, 3, 3): 16}}, {"seed": 0})


def test_round_trip_keeps_order_and_provenance(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout.yaml", LAYOUT)
    again = read_layout(tmp_path / "layout.yaml")
    assert again == LAYOUT
    assert list(again.convolutions["encoder.0.0"]) == [(1, 3, 3), (3, 1, 1)]
    assert "encoder.0.1: {3x3x3: 16}" in (tmp_path / "layout.yaml").read_text()


def test_kernels_are_three_odd_numbers() -> None:
    assert parse_kernel("1x3x5") == (1, 3, 5)
    assert format_kernel((1, 3, 5)) == "1x3x5"
    for text in ("3x3", "2x3x3", "0x1x1", "3x3x3x3", "axbxc", "3X3X3"):
        with pytest.raises(InputError, match="three odd numbers"):
            parse_kernel(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "convolutions"),
        ("convolutions: {}", "convolutions"),
        ("convolutions: {a: {3x3x3: 0}}", "positive number"),
        ("convolutions: {a: {3x3x3: true}}", "positive number"),
        ("convolutions: {a: {4x3x3: 8}}", "odd numbers"),
        ("other: 1", "wanted the keys"),
        ("convolutions: [", "not YAML"),
        ("convolutions: !!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_bad_files_are_refused_with_their_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_layout(path)
    assert "bad.yaml" in str(error.value)
