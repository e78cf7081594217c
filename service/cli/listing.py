"""Tables for people: every cell whole on one line in a pipe, readable in a narrow terminal."""

from collections.abc import Collection, Sequence

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from quicksilver.support.text import escape_control_characters

# With less, sentences become columns of single words.
_NARROWEST = 24
# Of a column: a line and a blank on both sides.
_BORDERS = 3
_GAP = 1
# In a pipe a single space may be a cell's own.
_BETWEEN = 2
_INDENT = "  "


class Listing:
    """Rows under headings. Names, dates and keys are never folded: in a terminal that is too narrow
    for a row, free text and then other columns go below it, each with its heading.

    `right` are the headings of numbers, `free` those of sentences, `below` those that go next;
    after them it is the widest that does.
    """

    def __init__(
        self,
        *headings: str,
        right: Collection[str] = (),
        free: Collection[str] = (),
        below: Sequence[str] = (),
        title: str = "",
        caption: str = "",
    ) -> None:
        self.headings = headings
        self.rows: list[list[Text]] = []
        self.total: list[Text] | None = None
        self.caption = caption
        self._title = title
        self._right = right
        self._free = free
        self._below = below

    def add(self, *cells: str | Text) -> None:
        """A row; a cell that is not a Text is foreign, and is not read as markup."""
        self.rows.append(self._texts(cells))

    def sum_up(self, *cells: str | Text) -> None:
        """The row below a line at the end."""
        self.total = self._texts(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The widest shape that fits."""
        if self._title:
            yield Text(self._title, "table.title")
        widths = [self._width(place) for place in range(len(self.headings))]
        # Only sentences may be folded into a narrow column.
        least = [
            min(width, _NARROWEST) if name in self._free else width
            for name, width in zip(self.headings, widths, strict=True)
        ]
        if not console.is_terminal:
            # A row is a line, so that a search finds it whole; columns without borders.
            yield self._lined()
        elif sum(least) + _BORDERS * len(least) + 1 <= options.max_width:
            yield self._boxed()
        else:
            yield from self._compact(console, options, widths)
        if self.caption:
            yield Text(self.caption, "table.caption")

    def _texts(self, cells: Sequence[str | Text]) -> list[Text]:
        keep = dict.fromkeys(self._free, "\n")
        return [
            cell
            if isinstance(cell, Text)
            else Text(escape_control_characters(cell, keep.get(name, "")))
            for name, cell in zip(self.headings, cells, strict=True)
        ]

    def _all(self) -> list[list[Text]]:
        return [*self.rows, self.total] if self.total else self.rows

    def _width(self, place: int) -> int:
        cells = [Text(self.headings[place]), *(row[place] for row in self._all())]
        return max(line.cell_len for cell in cells for line in cell.split("\n"))

    def _justified(self, name: str) -> JustifyMethod:
        return "right" if name in self._right else "left"

    def _boxed(self) -> Table:
        table = Table()
        for name in self.headings:
            folds = name in self._free
            table.add_column(
                name, overflow="fold", no_wrap=not folds, justify=self._justified(name)
            )
        for row in self._all():
            if row is self.total:
                table.add_section()
            table.add_row(*row)
        return table

    def _lined(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0))
        for name in self.headings:
            table.add_column(name, no_wrap=True, justify=self._justified(name))
        for row in self._all():
            table.add_row(*map(_joined, row))
        return table

    def _compact(
        self, console: Console, options: ConsoleOptions, widths: Sequence[int]
    ) -> RenderResult:
        """No borders; what does not fit beside the rest goes below each row."""
        beside = [place for place, name in enumerate(self.headings) if name not in self._free]
        going = [self.headings.index(name) for name in self._below]
        while len(beside) > 1 and self._needed(beside, widths) > options.max_width:
            beside.remove(going.pop(0) if going else max(beside, key=widths.__getitem__))
        below = [place for place in range(len(widths)) if place not in beside]
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
        for place in beside:
            name = self.headings[place]
            table.add_column(name, overflow="fold", no_wrap=True, justify=self._justified(name))
        for row in self._all():
            table.add_row(*(_joined(row[place]) for place in beside))
        head, *lines = console.render_lines(table, options, pad=False)
        yield from (*head, Segment.line())
        for line, row in zip(lines, self._all(), strict=True):
            yield from (*line, Segment.line())
            for place in below:
                if row[place].plain.strip():
                    said = Text.assemble((f"{self.headings[place]}: ", "dim"), row[place])
                    room = options.max_width - len(_INDENT)
                    for part in said.wrap(console, room, overflow="fold"):
                        yield Text(_INDENT) + part

    def _needed(self, places: Sequence[int], widths: Sequence[int]) -> int:
        return sum(widths[place] for place in places) + _GAP * (len(places) - 1)


def _joined(cell: Text) -> Text:
    """The lines of a cell after each other."""
    return Text("; ").join(line for line in cell.split("\n") if line.plain.strip())
