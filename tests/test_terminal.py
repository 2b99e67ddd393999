"""Lines on a terminal: broken between words, and nothing of them is lost."""

import io

import pytest

from scpo_ctrl import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [1, 20, 60, 80, 200])
@pytest.mark.parametrize("path", ["a.toml", "/home/somebody/projects/of/this/year/with/long/names/of/folders/a.toml"])
def test_a_message_has_all_its_words_whatever_the_width(monkeypatch, columns, path):
    said: list[str] = []
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(terminal, "say_at_once", said.append)
    message = f"{path}: cannot be read: No such file or directory; give a file that exists"
    terminal.warn(message)
    assert said[0].split() == message.split()
    assert said[0].startswith(path)
    longest = max(map(len, message.split()))
    assert max(map(len, said[0].splitlines())) <= max(columns, 4 + longest)
