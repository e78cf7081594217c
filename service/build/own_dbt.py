"""Somebody's own dbt project, run as it is: any adapter, any models, nothing of Quicksilver in it.

Parsed once per version of its files. One invocation a process: dbt keeps its adapter in a global.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from quicksilver.build.dbt_files import digest_of, project_files
from quicksilver.build.dbt_invocation import DbtProject
from quicksilver.build.dbt_project import cache_folder
from quicksilver.domain.declaration import DbtRule
from quicksilver.errors import DataTestError, ModelError, SettingsError

_CONFIG = re.compile(r"config\s*\(.*?\)\s*}}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DbtNode:
    """How one node of a run ended; `rows` changed by a model, or found by a failed test."""

    name: str
    kind: str
    status: str
    seconds: float
    rows: int | None
    message: str

    @property
    def is_failed(self) -> bool:
        """Whether it keeps the run from being a success."""
        return self.status in ("error", "runtime error", "fail")


@dataclass(frozen=True, slots=True)
class OwnProject:
    """A project, its profiles and the variables of one run; folders are absolute."""

    folder: Path
    profiles: Path
    rule: DbtRule
    variables: Mapping[str, Any]

    def run(self) -> list[DbtNode]:
        """Invoke the rule's command; how each node ended, failed ones among them.

        Raises:
            ModelError: the project does not parse, or dbt did not get as far as its nodes.
        """
        named = ["--target", self.rule.target] if self.rule.target else []
        project = DbtProject(
            self.folder,
            self.profiles,
            (*named, "--vars", json.dumps(self.variables, default=str)),
        )
        parsed = project.kept_or_parsed(self._version(), [cache_folder() / "own"])
        return [
            _node(one) for one in project.invoke(parsed, [self.rule.command, *self._selection()])
        ]

    def _version(self) -> str:
        """Names everything that decides how the project parses."""
        adapters = sorted(
            f"{one.name} {one.version}"
            for one in metadata.distributions()
            if (one.name or "").startswith("dbt-")
        )
        given = [*adapters, str(self.folder), self.rule.target or ""]
        if self._reads_variables_when_parsed():
            given.append(json.dumps(self.variables, sort_keys=True, default=str))
        profiles = digest_of(self.profiles, ["profiles.yml"])
        return digest_of(self.folder, ["."], profiles, *given)

    def _reads_variables_when_parsed(self) -> bool:
        """Whether a variable may stand in a configuration; elsewhere a run reads it."""
        for path in project_files(self.folder):
            if path.suffix not in (".sql", ".yml", ".yaml"):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            is_model = path.suffix == ".sql" and "{% macro" not in text
            parts = _CONFIG.findall(text) if is_model else [text]
            if any("var(" in part.replace("env_var(", "") for part in parts):
                return True
        return False

    def _selection(self) -> list[str]:
        return ["--select", *self.rule.select.split()] if self.rule.select else []


def own_project(rule: DbtRule, variables: Mapping[str, Any], root: Path) -> OwnProject:
    """The project that a rule names; relative folders are taken from `root`.

    Raises:
        SettingsError: a folder does not hold what it should.
    """
    folder = (root / Path(rule.project).expanduser()).resolve()
    if not (folder / "dbt_project.yml").is_file():
        raise SettingsError(f"dbt.project: {folder} holds no dbt_project.yml")
    beside = folder / "profiles.yml"
    if rule.profiles_dir is not None:
        profiles = (root / Path(rule.profiles_dir).expanduser()).resolve()
    else:
        profiles = folder if beside.is_file() else Path.home() / ".dbt"
    if not (profiles / "profiles.yml").is_file():
        raise SettingsError(
            f"dbt.profiles_dir: {profiles} holds no profiles.yml: name the folder that does"
        )
    wanted = [name for name in ("packages.yml", "dependencies.yml") if (folder / name).is_file()]
    if wanted and not (folder / "dbt_packages").is_dir():
        raise SettingsError(f"{folder / wanted[0]} names packages: run `dbt deps` in {folder} once")
    return OwnProject(folder, profiles, rule, variables)


def refuse_failed(nodes: list[DbtNode]) -> None:
    """Raise for the nodes that failed.

    Raises:
        ModelError: a model, snapshot or seed did not run.
        DataTestError: only tests failed.
    """
    failed = [node for node in nodes if node.is_failed]
    if not failed:
        return
    said = "; ".join(
        f"{node.kind} {node.name}: {' '.join(node.message.split())[:300]}" for node in failed[:5]
    )
    more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
    kind = DataTestError if all(node.status == "fail" for node in failed) else ModelError
    raise kind(f"dbt: {len(failed)} of {len(nodes)} nodes failed: {said}{more}")


def _node(result: Any) -> DbtNode:
    response: Mapping[str, Any] = result.adapter_response or {}
    is_test = result.node.resource_type == "test"
    rows = result.failures if is_test else response.get("rows_affected")
    return DbtNode(
        name=result.node.name,
        kind=str(result.node.resource_type),
        status=str(result.status),
        seconds=round(result.execution_time, 4),
        rows=None if rows is None or int(rows) < 0 else int(rows),
        message=str(result.message or ""),
    )
