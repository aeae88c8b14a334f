import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout, Outline, read_layout, write_layout

LAYOUT = Layout(
    {
        "encoder.0.0": {Kernel((1, 3, 3)): 8, Kernel((3, 1, 1)): 8},
        "encoder.0.1": {Kernel((3, 3, 3), dilation=2): 16},
    },
    {"seed": 0},
)


def test_round_trip_keeps_order_and_provenance(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout.yaml", LAYOUT)
    again = read_layout(tmp_path / "layout.yaml")
    assert again == LAYOUT
    assert list(again.convolutions["encoder.0.0"]) == [Kernel((1, 3, 3)), Kernel((3, 1, 1))]
    assert "encoder.0.1: {3x3x3d2: 16}" in (tmp_path / "layout.yaml").read_text(encoding="utf-8")


def test_levels_are_kept_too(tmp_path: Path) -> None:
    outline = Outline((16, 40), ((1, 1, 1), (1, 2, 2)), ((1, 3, 3), (3, 3, 3)), 0.75)
    write_layout(tmp_path / "network.yaml", replace(LAYOUT, network=outline))
    assert read_layout(tmp_path / "network.yaml") == replace(LAYOUT, network=outline)
    assert "widths: [16, 40]" in (tmp_path / "network.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("[]", ["convolutions", "provenance", "[]"]),
        ("convolutions: {}", ["convolutions", "{}"]),
        ("convolutions: {a: {3x3x3: 0}}", ["a: ", "3x3x3", "0"]),
        ("convolutions: {a: {3x3x3: true}}", ["a: ", "3x3x3", "True"]),
        ("convolutions: {a: {4x3x3: 8}}", ["a: ", "'4x3x3'"]),
        ("{convolutions: {a: {3x3x3: 8}}, network: {widths: [8]}}", ["network", "strides", "[8]"]),
        ("other: 1", ["convolutions", "provenance", "other"]),
        ("convolutions: [", ["YAML"]),
        ("convolutions: !!python/object/apply:os.system ['true']", ["YAML", "os.system"]),
    ],
)
def test_bad_files_are_refused_with_their_name(tmp_path: Path, text: str, tokens: list[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_layout(path)
    found = str(error.value).replace(str(path), "")
    for token in tokens:
        assert token in found
