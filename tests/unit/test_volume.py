"""A partition of unusual size warns, and only then."""

from quicksilver.build.volume import unusual
from quicksilver.warehouse.publish import Counts

USUAL = [(10_000, 80), (11_000, 90), (9_000, 70), (10_500, 85)]


def test_a_usual_month_says_nothing() -> None:
    assert unusual(Counts(9_500, 9_400, 100), USUAL) == []


def test_too_few_and_too_many_rows_are_told() -> None:
    assert unusual(Counts(3_000, 3_000, 0), USUAL) == [
        "3,000 rows landed; partitions of this dataset usually have 10,250"
    ]
    assert unusual(Counts(40_000, 40_000, 0), USUAL) != []
    assert unusual(Counts(0, 0, 0), USUAL) != []


def test_many_rejected_rows_are_told() -> None:
    assert unusual(Counts(10_000, 9_000, 1_000), USUAL) == [
        "10.0% of the rows were rejected; usually it is 0.8%"
    ]
    assert unusual(Counts(10_000, 9_600, 400), USUAL) == []


def test_a_short_history_says_nothing() -> None:
    assert unusual(Counts(1, 0, 1), USUAL[:2]) == []
    assert unusual(Counts(1, 0, 1), [(0, 0)] * 10) == []
