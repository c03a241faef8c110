"""Text for terminals: names from files and folders of others cannot steer one."""

import logging
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from pose_lightning.errors import shown


def say(text: object) -> None:
    """Print one line, with names as `shown` escapes them, at once."""
    print(shown(text), flush=True)


class Terminal(Console):
    """A rich console that escapes what it is given to print, and steers the terminal by its own styles alone.

    Text has neither rich's markup, such as `[/]` or `[link=...]`, nor its emoji: names may hold both.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of text, of which lines may end, and rich's own controls."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable() or segment.text == "\n":
                yield segment
            else:
                yield Segment("\n".join(map(shown, segment.text.split("\n"))), segment.style)


class _Escaping(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = "\n".join(map(shown, record.getMessage().split("\n"))), ()
        return True


_ESCAPING: Final = _Escaping()


def escape_logs() -> None:
    """Escape names in what Lightning logs, such as the path of a checkpoint."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_ESCAPING)
