"""`datasets.yaml`: what is wrong is refused with file, line and reason."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicksilver.domain.datasets import Dataset, load_datasets
from quicksilver.domain.durations import parse_duration
from quicksilver.errors import DatasetsError, NotFoundError, UnknownDatasetError
from tests.support.checkout import PROJECT

GOOD = """\
datasets:
  trips:
    bucket: datasets
    key: bronze/trips/dt={dt}/{file}
    deployment: silver-build/trips
"""


def load(path: Path, text: str | bytes) -> list[Dataset]:
    file = path / "datasets.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(load_datasets(file).datasets)


def refused(path: Path, text: str | bytes) -> str:
    """What is said of a file, without its folder: exactly one line."""
    with pytest.raises(DatasetsError) as caught:
        load(path, text)
    said = str(caught.value)
    assert "\n" not in said
    return said.removeprefix(f"{path}/")


def test_the_project_s_own_file_is_read() -> None:
    datasets = load_datasets(PROJECT / "datasets.yaml")
    assert datasets.get("nyc_tlc.yellow_tripdata").deployment == "silver-build/nyc-tlc"


def test_every_field_has_its_line(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    datasets = load_datasets(tmp_path / "datasets.yaml")
    assert datasets.line_of("trips", "deployment") == 5
    assert datasets.line_of("trips", "priority") == 2, "left out: the dataset's own line"


@pytest.mark.parametrize(
    ("added", "line", "why"),
    [
        ("    bukket: x\n", 6, "trips: bukket: unknown field"),
        ("    name: other\n", 6, "trips: name: unknown field"),
        ("    ready:\n      quite: 30s\n", 7, "trips: ready.quite: unknown field"),
        ("    ready:\n      quiet: soon\n", 7, "'soon' is not a duration"),
        ("    ready:\n      quiet: -5\n", 7, "-5 is not a duration"),
        ("    ready:\n      quiet: .inf\n", 7, "inf is not a duration"),
        ("    ready:\n      quiet: .nan\n", 7, "nan is not a duration"),
        ("    ready:\n      max_wait: 99999999999d\n", 7, "is not a duration"),
        ("    ready:\n      max_wait: 1e400\n", 7, "is not a duration"),
        ("    ready:\n      min_files: 0\n", 7, "greater than or equal to 1"),
        ("    ready:\n      marker: a/b\n", 7, "trips: ready.marker"),
        ("    ready: often\n", 6, "trips: ready"),
        ("    time_limit: 0s\n", 6, "trips: time_limit"),
        ("    time_limit: true\n", 6, "trips: time_limit"),
        ("    attempts: many\n", 6, "trips: attempts: Input should be a valid integer"),
        ("    attempts: 0\n", 6, "trips: attempts"),
        ("    priority: 99999999999\n", 6, "trips: priority"),
        ("    max_running: 99999999999\n", 6, "trips: max_running"),
        ("    bronze_table: a;drop\n", 6, "trips: bronze_table"),
        ("    columns:\n      fare:\n        kind: money\n", 8, "trips: columns.fare.kind"),
        ("    7: x\n", 6, "trips: 7"),
        ("    bucket: other\n", 6, 'not YAML: found duplicate key "bucket"'),
        ("  trips:\n    bucket: x\n", 6, 'not YAML: found duplicate key "trips"'),
        ("  more: 5\n", 6, "more: needs a mapping of fields"),
        ("  Upper:\n    bucket: datasets\n", 6, "Upper: name"),
        ("extra: 1\n", 6, "unknown field 'extra'"),
        ("    files: [\n", 7, "not YAML"),
        ("    files: 'x\n", 7, "not YAML"),
        ("    files: *alias\n", 6, "not YAML: found undefined alias"),
        ("\tfiles: x\n", 6, "not YAML"),
        ("    files: \x07\n", 6, "not YAML: special characters are not allowed"),
        (
            "    bronze_table: bronze.trips\n"
            "  again:\n    bucket: datasets\n    key: bronze/more/dt={dt}/{file}\n"
            "    deployment: a/b\n    bronze_table: bronze.trips\n",
            11,
            "again: bronze_table: bronze.trips is the table of trips",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, added: str, line: int, why: str) -> None:
    said = refused(tmp_path, GOOD + added)
    assert said.startswith(f"datasets.yaml:{line}: ")
    assert why in said


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("bronze/{dt}/{dt}/{file}", "has {dt} 2 times"),
        ("bronze/{dt}/{file}/{region}", "can only stand at the end"),
        ("bronze/{dt}/{year}/{file}", "says year twice"),
        ("bronze/{year}/{day}/{file}", "lacks the month"),
        ("bronze/{dt:%Q}/{file}", "%Q is not read"),
        ("bronze/{dt}/*/{file}", "not a wildcard"),
        ("bronze/{dt}/{key}/{file}", "is a parameter's name"),
        ("/bronze/{dt}/{file}", "empty path segment"),
        ("bronze//{dt}/{file}", "empty path segment"),
        ("bronze/}{dt}/{file}", "closes nothing"),
        ("", "needs a field"),
    ],
)
def test_a_bad_pattern_is_refused(tmp_path: Path, key: str, why: str) -> None:
    said = refused(tmp_path, GOOD.replace("bronze/trips/dt={dt}/{file}", f"'{key}'"))
    assert said.startswith("datasets.yaml:4: trips: key: ")
    assert why in said


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "needs a mapping `datasets:`"),
        ("[]", 1, "needs a mapping `datasets:`"),
        ("datasets:\n", 1, "needs a mapping `datasets:`"),
        ("datasets: [a]\n", 1, "needs a mapping `datasets:`"),
        ("a: b: c\n", 1, "not YAML"),
        (b"datasets:\n  caf\xe9: {}\n", 2, "not UTF-8"),
        ("{" * 5000, 1, "not YAML"),
    ],
)
def test_what_is_no_list_of_datasets(
    tmp_path: Path, text: str | bytes, line: int, why: str
) -> None:
    said = refused(tmp_path, text)
    assert said.startswith(f"datasets.yaml:{line}: ")
    assert why in said


def test_a_missing_field_is_named_with_the_dataset_s_line(tmp_path: Path) -> None:
    said = refused(tmp_path, GOOD.replace("    bucket: datasets\n", ""))
    assert said == "datasets.yaml:2: trips: bucket: Field required"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetsError, match="cannot be read: No such file"):
        load_datasets(tmp_path / "datasets.yaml")


def test_an_unknown_dataset_names_the_known(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    with pytest.raises(UnknownDatasetError, match=r"'tripz' is not declared .*declared: trips"):
        load_datasets(tmp_path / "datasets.yaml").get("tripz")
    # To the command line and to HTTP it is a name that nobody knows.
    assert issubclass(UnknownDatasetError, NotFoundError)


@given(text=st.text(max_size=200))
def test_fuzz_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        load_datasets(file)
    except DatasetsError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("2d", 172800),
        (7, 7),
        (0.5, 0.5),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "s", "5", "5 minutes", "1h-5m", "٣s", "--5s", "5s5"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("files", "file", "holds"),
    [
        ("*.parquet", "a.parquet", True),
        ("*.parquet", "a.parquet.tmp", False),
        ("part-?.csv", "part-1.csv", True),
        ("part-?.csv", "part-10.csv", False),
        ("*", "_SUCCESS", False),
        ("*", ".hidden", False),
        ("[", "[", True),
    ],
)
def test_which_files_are_data(files: str, file: str, holds: bool) -> None:
    dataset = Dataset(
        name="d", bucket="datasets", key="x/{dt}/{file}", files=(files,), deployment="a/b"
    )
    assert dataset.holds(file) is holds
