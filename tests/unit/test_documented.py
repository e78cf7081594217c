"""docs/datasets.md and docs/settings.md name what the code takes, with its defaults."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from quicksilver.domain import declaration
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.declaration import Strict
from quicksilver.domain.keys import RESERVED, parse_pattern
from quicksilver.domain.partition import Partition
from tests.support.checkout import PROJECT
from tests.support.settings_page import PAGE, rendered

DATASETS = (PROJECT / "docs" / "datasets.md").read_text(encoding="utf-8")
# Every model of a declaration, by its own name; the heading says where its fields stand.
HEADINGS = {
    "Dataset": "A dataset",
    "ReadinessRule": "Readiness",
    "ColumnRule": "A column",
    "CsvRule": "CSV files",
    "DbtRule": "A dbt project of your own",
    "Gate": "A gate",
}
MODELS = {
    name: model
    for name, model in vars(declaration).items()
    if isinstance(model, type) and issubclass(model, Strict) and model is not Strict
}


def section(heading: str) -> str:
    return DATASETS.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def fields(text: str) -> dict[str, str]:
    """Of each field that a table of the section names: its default, as the page says it."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| .+ \|$", text, re.MULTILINE)
    return dict(rows)


def written(default: Any) -> str:
    """A default as the page writes it."""
    if isinstance(default, timedelta):
        minutes = int(default.total_seconds() // 60)
        return f"`{minutes // 60}h`" if minutes % 60 == 0 else f"`{minutes}m`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "`[]`" if default == () else f"`{default}`"


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_a_declaration_is_documented(name: str) -> None:
    documented = fields(section(HEADINGS[name]))
    known = {field: info for field, info in MODELS[name].model_fields.items() if field != "name"}
    assert set(documented) == set(known)
    for field, info in known.items():
        if info.is_required():
            assert documented[field] == "required", field
        elif isinstance(info.default, str | int | timedelta) and info.default != "":
            assert documented[field] == written(info.default), field


def blocks() -> Iterator[str]:
    for text in re.findall(r"```yaml\n(.*?)```", DATASETS, re.DOTALL):
        yield text if text.startswith("datasets:") else f"datasets: {{}}\n{text}"


@pytest.mark.parametrize("text", [text for text in blocks() if "gates:" not in text])
def test_the_pages_declarations_are_taken(text: str, tmp_path: Path) -> None:
    (tmp_path / "datasets.yaml").write_text(text, encoding="utf-8")
    assert load_datasets(tmp_path / "datasets.yaml").datasets


def test_every_row_shows_a_value_that_is_taken(tmp_path: Path) -> None:
    """The example of each field of a dataset, alone beside what is required."""
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| .+ \| `(.+)` \|$", section("A dataset"), re.MULTILINE
    )
    assert len(rows) > 20
    path = tmp_path / "datasets.yaml"
    for field, example in rows:
        body = {"bucket": "lake", "key": "{region}/dt={dt}/{file}", "deployment": "a/b"}
        body[field] = YAML(typ="safe").load(example)
        YAML().dump({"datasets": {"shop.sales": body}}, path)
        assert load_datasets(path).datasets, field


def test_partitions_are_called_what_the_page_says() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", section("Names of partitions"), re.M)
    assert len(rows) == 6
    for key, name in rows:
        pattern = parse_pattern(key)
        assert pattern.fields_of(name) is not None, key
        (prefix, *_) = pattern.prefixes_of(name)
        fit = pattern.fit(f"{prefix}data.csv")
        assert not isinstance(fit, str)
        assert pattern.name_of(fit) == name
        assert str(Partition("d", name)) == f"d/{name}"


def test_the_page_names_the_words_that_are_taken() -> None:
    for word in RESERVED:
        assert f"`{word}`" in section("Key patterns")
    for field in (*declaration.OF_A_BUILD, *declaration.OF_AN_OBJECT):
        assert f"{{{field}}}" in section("Templates")
    for kind in declaration.KINDS:
        assert f"`{kind}`" in section("A column")


def test_the_settings_page_is_what_the_example_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == rendered(), "write it again: python -m tests.support.settings_page"
