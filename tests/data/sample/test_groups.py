import pytest

from app.data.sample.groups import groups_by_prefix


@pytest.mark.parametrize(
    ("ids", "keys"),
    [
        (["patient001_frame01", "patient001_frame12", "patient002_frame01"], ["patient001", "patient002"]),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"], ["sub-01", "sub-02"]),
        (
            ["BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"],
            ["BraTS-GLI-00005", "BraTS-GLI-00006"],
        ),
        ([f"{year}_{case}" for year in (2012, 2013) for case in range(9)], None),
        (["p1.a", "p1.b", "p2.a"], ["p1", "p2"]),
        (["hippocampus_001", "hippocampus_003"], None),
        (["nodule_tv_0001", "nodule_tv_0016"], None),
        (["STS_002", "STS_004"], None),
        (["patient1_a", "patient2_a", "patient3_a"], None),  # nothing is shared
        (["patient1_a", "patient1_b", "control"], None),
        (["ab1_a", "ab1_b", "cd1_a", "cd1_b"], None),  # prefixes are of two kinds
        (["case1_a", "case1_b"], None),  # one group would leave nothing to hold out
    ],
)
def test_prefixes_make_groups_where_names_surely_have_them(ids: list[str], keys: list[str] | None) -> None:
    rule = groups_by_prefix(ids)
    assert (rule and sorted({rule.key(case) for case in ids})) == keys
