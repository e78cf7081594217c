"""`quicksilver check`: whether what a project declares fits together, before anything starts."""

from quicksilver.operators.check.finding import Finding, Level
from quicksilver.operators.check.project import check_project

__all__ = ["Finding", "Level", "check_project"]
