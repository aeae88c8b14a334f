import pytest

from app.data.sample.groups import groups_by_prefix


@pytest.mark.parametrize(
    ("ids", "keys"),
    [
        ([f"patient00{n}_frame{f}" for n in range(5) for f in (1, 12)], [f"patient00{n}" for n in range(5)]),
        ([f"sub-0{n}_ses-{s}" for n in range(5) for s in (1, 2)][:-1], [f"sub-0{n}" for n in range(5)]),
        (
            [f"BraTS-GLI-0000{n}-00{visit}" for n in range(5) for visit in (0, 1)],
            [f"BraTS-GLI-0000{n}" for n in range(5)],
        ),
        ([f"{year}_{case}" for year in (2012, 2013) for case in range(9)], None),
        ([f"p{n}.{s}" for n in range(6) for s in "ab"], [f"p{n}" for n in range(6)]),
        ([f"T{n}_{case}" for n in (1, 2) for case in range(5)], None),  # sequences
        (["hippocampus_001", "hippocampus_003"], None),
        (["nodule_tv_0001", "nodule_tv_0016"], None),
        (["STS_002", "STS_004"], None),
        (["patient1_a", "patient2_a", "patient3_a"], None),  # nothing is shared
        (["patient1_a", "patient1_b", "control"], None),
        (["ab1_a", "ab1_b", "cd1_a", "cd1_b"], None),  # prefixes are of two kinds
        (["case1_a", "case1_b"], None),  # too few for folds
    ],
)
def test_prefixes_make_groups_where_names_surely_have_them(ids: list[str], keys: list[str] | None) -> None:
    rule = groups_by_prefix(ids)
    assert (rule and sorted({rule.key(case) for case in ids})) == keys
