"""Every setting the code reads stands in docs/settings.md and .env.example, with the code's default."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = ROOT / "backend/alrea_sense/settings.py"
READERS = {"text", "flag", "number", "whole", "listing", "choice"}


def _calls() -> list[ast.Call]:
    tree = ast.parse(SETTINGS.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if _is_reader(call.func)]


def _is_reader(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "env"
        and function.attr in READERS
    )


def _name(call: ast.Call) -> str:
    name = ast.literal_eval(call.args[0])
    assert isinstance(name, str)
    return name


def _constant_defaults() -> dict[str, str]:
    """Name -> default as the documents write it, of the settings whose default is written as a constant."""
    found = {}
    for call in _calls():
        try:
            value = ast.literal_eval(call.args[1]) if len(call.args) > 1 else ""
        except ValueError:
            if not isinstance(call.args[1], ast.BinOp) or not isinstance(call.args[1].op, ast.Mult):
                continue
            value = eval(ast.unparse(call.args[1]), {"_MIB": 1024 * 1024})
        if isinstance(value, bool):
            value = int(value)
        found[_name(call)] = ",".join(value) if isinstance(value, list) else str(value)
    return found


def _table() -> dict[str, str]:
    """Name -> default cell of docs/settings.md."""
    rows = re.findall(
        r"^\| `([A-Z0-9_]+)` \| (.*?) ?\|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
    )
    return {name: cell.strip().strip("`") for name, cell in rows}


def _example() -> dict[str, str]:
    """Name -> value of .env.example, commented out or not."""
    rows = re.findall(r"^#?([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return dict(rows)


@pytest.mark.parametrize("name", sorted({_name(call) for call in _calls()}))
def test_it_is_in_both_files(name: str) -> None:
    assert name in _table(), "docs/settings.md"
    assert name in _example(), ".env.example"


@pytest.mark.parametrize(("name", "default"), sorted(_constant_defaults().items()))
def test_its_default_is_the_one_told(name: str, default: str) -> None:
    if default:
        assert _table()[name] == default


def test_nothing_is_documented_that_is_not_read() -> None:
    read = {_name(call) for call in _calls()}
    others = {"PYTHON", "CI", "DRILL_OLD_RELEASE", "WEB_PORT", "DEMO_LOGIN", "SIMULATOR_API_KEY"}
    assert set(_table()) - read - others == set()


def test_only_the_settings_read_the_environment() -> None:
    """A variable read elsewhere would be in no list."""
    allowed = {"env.py"}
    sources = [
        path
        for package in ("apps", "alrea_sense")
        for path in (ROOT / "backend" / package).rglob("*.py")
        if "tests" not in path.parts and path.name not in allowed
    ]
    reading = re.compile(r"os\.environ(\[|\.get|\.pop)|os\.getenv|environ\.get")
    assert [path.name for path in sources if reading.search(path.read_text())] == []
