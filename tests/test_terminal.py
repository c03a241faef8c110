"""Printed names cannot steer a terminal."""

import ast
import io
import logging
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from pose_lightning.terminal import Terminal, escape_logs, say

PACKAGE = Path(__file__).resolve().parents[1] / "pose_lightning"
NAME = "a\x1b[2K\x1b]0;title\x07\u202egpj\r\x9b.jpg"
SHOWN = r"a\x1b[2K\x1b]0;title\x07\u202egpj\r\x9b.jpg"


def test_a_line_stays_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{NAME}\nerror: forged")
    assert capsys.readouterr().out == f"{SHOWN}\\nerror: forged\n"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_table_escapes_names_and_keeps_its_own_colours(is_terminal: bool) -> None:
    written = io.StringIO()
    console = Terminal(
        file=written, force_terminal=is_terminal, color_system="standard" if is_terminal else None, width=120
    )
    table = Table("name", box=None)
    table.add_row(Text(NAME.replace("\r", ""), style="red"))
    console.print(table)
    console.print(Text(NAME.replace("\r", "")))
    assert written.getvalue().count(r"a\x1b[2K\x1b]0;t") == 2
    assert "\x1b[2K" not in written.getvalue()
    assert ("\x1b[31m" in written.getvalue()) == is_terminal


def test_lightning_logs_names_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler(written := io.StringIO())
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "handlers", [handler])
    escape_logs()
    logging.getLogger("pytorch_lightning.utilities").warning("from %s", NAME)
    assert written.getvalue() == f"from {SHOWN}\n"


def test_names_are_no_markup() -> None:
    console = Terminal(file=(written := io.StringIO()), width=120)
    table = Table("[/head]", title="[/title] :smile:", box=None)
    table.add_row("[link=https://example.org]a[/link] [/] :smile:")
    console.print(table)
    console.print("[/b].h5")
    for name in ("[/head]", "[/title] :smile:", "[link=https://example.org]a[/link] [/] :smile:", "[/b].h5"):
        assert name in written.getvalue()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_everything_is_printed_by_functions_that_escape(path: Path) -> None:
    if path.name in ("errors.py", "terminal.py"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "Console", "Terminal escapes names"
            if node.func.id == "print":
                text = ast.unparse(node.args[0])
                assert isinstance(node.args[0], ast.Constant) or "shown" in text, "say escapes names"
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("track", "wrap_file"):
            for text in map(ast.unparse, [*node.args, *(word.value for word in node.keywords)]):
                assert not text.startswith("f'") or "escape(" in text, "a bar's description is markup"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("TextColumn"):
            assert "markup=False" in ast.unparse(node), "a bar's description is markup"
