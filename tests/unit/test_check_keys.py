"""What a key would be, and what a listing's keys propose."""

from pathlib import Path

import pytest

from quicksilver.domain.datasets import load_datasets
from quicksilver.operators.check.keys import explain_key
from quicksilver.operators.check.proposal import as_yaml, propose

DECLARED = """
datasets:
  shop.orders:
    bucket: lake
    key: orders/region={region}/dt={dt}/{file}
    files: "*.json.gz"
    deployment: load-orders/prod
    ready: {marker: _SUCCESS}
  shop.invoices:
    bucket: other
    key: invoices/{path}
    each: object
    deployment: read-invoice/prod
"""


@pytest.mark.parametrize(
    ("key", "dataset", "partition", "reason"),
    [
        ("orders/region=eu/dt=2024-05-01/a.json.gz", "shop.orders", "2024-05-01/region=eu", "fits"),
        ("s3://other/invoices/a/b.pdf", "shop.invoices", "a/b.pdf", "fits"),
        ("orders/region=eu/dt=2024-02-30/a.json.gz", "shop.orders", None, "bad-date"),
        ("orders/region=eu/dt=2024-05-01/a.csv", "shop.orders", None, "other-file"),
        ("orders/region=eu/2024/a.json.gz", "shop.orders", None, "no-partition"),
        ("elsewhere/a.json.gz", "shop.orders", None, "outside-datasets"),
    ],
)
def test_what_a_key_would_be(
    tmp_path: Path, key: str, dataset: str, partition: str | None, reason: str
) -> None:
    (tmp_path / "datasets.yaml").write_text(DECLARED)
    findings = explain_key(load_datasets(tmp_path / "datasets.yaml"), key)
    (found,) = [finding for finding in findings if finding.dataset == dataset]
    assert (found.partition, found.reason) == (partition, reason)
    assert found.why


def test_a_bucket_that_nobody_declared(tmp_path: Path) -> None:
    (tmp_path / "datasets.yaml").write_text(DECLARED)
    assert explain_key(load_datasets(tmp_path / "datasets.yaml"), "s3://nobodys/a") == []


@pytest.mark.parametrize(
    ("keys", "pattern"),
    [
        (["sales/dt=2024-05-01/a.csv", "sales/dt=2024-05-02/b.csv"], "sales/dt={dt}/{file}"),
        (
            [f"topics/o/year=2024/month=05/day=01/hour={h:02}/o+0+{h}.json.gz" for h in range(3)],
            "topics/o/year={year}/month={month}/day={day}/hour={hour}/{file}",
        ),
        (
            [f"{r}/2024/05/0{d}/x.parquet" for r in ("eu",) for d in (1, 2)],
            "eu/{year}/{month}/{day}/{file}",
        ),
        (
            [f"t/region={r}/date=2024050{d}/x.parquet" for r in ("eu", "us") for d in (1, 2)],
            "t/region={region}/date={dt:%Y%m%d}/{file}",
        ),
        (["in/sales_2024-05-01.csv", "in/sales_2024-05-02.csv"], "in/sales_{dt}.csv"),
        (["docs/a.pdf", "docs/b.pdf"], "docs/{file}"),
        (
            ["e/dt=2024-05-01/a.json", "e/dt=2024-05-01/part/b.json"],
            "e/dt={dt}/{path}",
        ),
        (
            ["s/dt=2024-05-01/a.csv", "s/dt=2024-05-01/_temporary/0/a.csv", "s/_SUCCESS"],
            "s/dt={dt}/{file}",
        ),
    ],
)
def test_what_a_listing_proposes(keys: list[str], pattern: str, tmp_path: Path) -> None:
    first, *_ = propose(keys)
    assert first.key == pattern
    (tmp_path / "datasets.yaml").write_text(as_yaml("lake", [first]))
    (declared,) = load_datasets(tmp_path / "datasets.yaml").datasets
    found = explain_key(load_datasets(tmp_path / "datasets.yaml"), keys[0])
    assert declared.key == pattern
    assert found[0].reason == "fits"


def test_tables_side_by_side_are_datasets_of_their_own() -> None:
    keys = [f"lake/{t}/dt=2024-05-0{d}/x.parquet" for t in ("orders", "users") for d in (1, 2)]
    assert [each.key for each in propose(keys)] == [
        "lake/orders/dt={dt}/{file}",
        "lake/users/dt={dt}/{file}",
    ]
