"""The order of the help, and its words for values."""

from typing import Any

from typer.core import TyperGroup, TyperOption

# The groups of commands, in the order of their use.
SET_UP, RUN, LOOK, ACT = "Set up", "Run", "Look", "Act"
_ORDER = (SET_UP, RUN, LOOK, ACT)

# Instead of Python's type names.
_VALUES: dict[object, str] = {bool: "", int: "N", float: "N"}


class InOrder(TyperGroup):
    """Commands by group, and options without the library's type names."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order of their groups."""

        def place(name: str) -> int:
            panel = getattr(self.commands[name], "rich_help_panel", None)
            return _ORDER.index(panel) if panel in _ORDER else len(_ORDER)

        return sorted(super().list_commands(ctx), key=place)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, with a plain word for what each option takes."""
        command = super().get_command(ctx, cmd_name)
        for parameter in command.params if command else ():
            if isinstance(parameter, TyperOption) and parameter.metavar is None:
                parameter.metavar = _VALUES.get(parameter.type_descriptor.annotation)
        return command
