"""What can go wrong with the embedded stack."""

from quicksilver.errors import QuicksilverError


class StackError(QuicksilverError):
    """The embedded stack could not do what was asked; the message names the part and its log."""


class StackRunningError(StackError):
    """A stack already runs in this home."""


class StackNotRunningError(StackError):
    """No stack runs in this home."""


class ProgramBuildError(StackError):
    """A program is not on this machine and could not be built."""
