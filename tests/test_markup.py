"""Text of users stays text: in every exported file, in the report, in figures and on a terminal."""

import dataclasses
import html.parser
import json
import re
import sys
import tomllib
import xml.etree.ElementTree

import jinja2
import numpy as np
import pytest
from exports import STRICT, need, run
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

import scpo_ctrl
from scpo_ctrl import cli, terminal
from scpo_ctrl.codegen import escape, export
from scpo_ctrl.codegen.escape import Code, escape_for
from scpo_ctrl.codegen.export import _environment
from scpo_ctrl.errors import DomainError
from scpo_ctrl.models import linear
from scpo_ctrl.report.figures import style
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.panels import to_svg
from scpo_ctrl.text import one_line, visible

NASTY = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "![x](http://e.org/x.png)", "http://evil.org", "www.evil.org", "me@evil.org", "<http://evil.org>",
    "`code` ``more``", "`", "a | b || c", "*a* _b_ ~c~", "line\n\n# heading\n\n- item", "\r\n    code",
    "*/ #error broken /*", "/", "*", "**//**", "// back\\", "\\", "a \\\n#error", "??/", "????/", "??>",
    '"quoted" \'too\'', "%s %n %d", "$(shell touch broken)", "$$x $(CC)", "${HOME}", "@VAR@", "#x", "x:\n\tfalse",
    "$x^2$", "$\\frac{", "[red]text[/red]", "[/]", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\x00b", "\x7f\x9b1m",
    "\u202edlof\u202c", "\u2028x\u2029", "{{ 7 * 7 }}", "{% raw %}", "&amp; &lt;", "é 温度 🌡",
    "scpo_pressure SCPO_MAX scpo.h", " ", "-->", "]]>", "</style>",
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    """A run whose plant has every nasty text as a label or a unit, and all of them in its name and source."""
    nx, all_of_them = (len(NASTY) + 1) // 2, " ".join(NASTY)
    labels, one, two = {"x_labels": NASTY[:nx], "x_units": NASTY[-nx:]}, np.ones(nx), np.ones(2)
    labels |= {"u_labels": NASTY[:2], "u_units": NASTY[-2:]}
    bounds = (-one, one, -two, two)
    plant = linear(0.5 * np.eye(nx), np.eye(nx)[:, :2], 0.1, bounds, name=all_of_them, source=all_of_them, **labels)
    backup = scpo_ctrl.lqr(plant, one, two, allow_uncontrollable=True)
    policy = scpo_ctrl.Policy(plant, backup)
    batch = scpo_ctrl.scenarios(plant, backup, horizon=3, count=2)
    problem = scpo_ctrl.ControlProblem(policy, batch, scpo_ctrl.Quadratic(one, two))
    return scpo_ctrl.adapt(problem, scpo_ctrl.AdaptOptions(steps=1))


@pytest.fixture(scope="module")
def exported(result, tmp_path_factory):
    """Its export."""
    folder = tmp_path_factory.mktemp("markup") / "c"
    export(result, folder, target="host", prefix="pump")
    return folder


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_code_compiles(compiler, exported):
    need(compiler, "make")
    flags = f"CFLAGS=-std=c99 {STRICT} -Wcomment -Wtrigraphs -trigraphs"
    assert " 0 failures" in run("make", "-C", exported, "test", f"CC={compiler}", flags)
    run("make", "-C", exported, "clean")
    assert not list(exported.rglob("broken"))


def test_comments_hold_the_text_and_nothing_else_does(exported):
    texts = {escape.comment(text).strip() for text in NASTY} - {"", "/", "*"}
    for name in ("include/pump_config.h", "src/pump_data.c"):
        code = (exported / name).read_text()
        bare = re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)
        bare = re.sub(r'"(\\.|[^"\\\n])*"', '""', bare)  # names of signals are strings too
        assert not [text for text in texts if len(text) > 3 and text in bare]
        assert "SPDX" not in bare and "sha256" not in bare
    data = (exported / "src" / "pump_data.c").read_text()
    assert "scpo_pressure SCPO_MAX scpo.h" in data  # a label keeps its words, whatever the prefix
    assert "é 温度 🌡" in data and "{{ 7 * 7 }}" in data


@pytest.mark.parametrize("flavour", ["commonmark", "gfm-like"])
def test_the_readme_has_no_element_of_a_label(flavour, exported):
    """Rendered with and without GitHub's extensions: no HTML, no link, no picture; every label is inline code."""
    text = (exported / "README.md").read_text()
    tokens = MarkdownIt(flavour, {"html": True, "linkify": False}).enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr", "blockquote_open", "code_block_"}
    assert [token.content for token in tokens if token.type == "html_block"] == []
    code = {token.content.strip() for token in inline if token.type == "code_inline"}
    assert " ".join(one_line(" ".join(NASTY)).replace("`", "'").replace("|", "/").split()) in {
        " ".join(text.split()) for text in code
    }
    plain = " ".join(token.content for token in inline if token.type == "text")
    assert not re.search(r"evil|script|onerror|javascript|\[red\]", plain)
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[0] == "pump: a controller in C99" and "heading" not in headings


def test_make_and_cmake_hold_no_label(exported):
    for name in ("Makefile", "CMakeLists.txt"):
        text = (exported / name).read_text()
        assert not [label for label in NASTY if len(label) > 9 and label in text]


def test_the_report(result):
    """Markup of a label is text; nothing but the report's own elements, no control character."""
    text = render_report(result)
    text.encode()
    found: list[tuple[str, list]] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, attrs))

    Parser().feed(text)
    assert not {"img", "iframe", "a"} & {tag for tag, _ in found}
    own = [[("type", "application/json"), ("id", "explored")], []]
    assert [attributes for tag, attributes in found if tag == "script"] == own
    assert not [attr for _, attrs in found for attr, value in attrs if attr.startswith("on")]
    assert not [value for _, attrs in found for attr, value in attrs if attr == "href" and not value.startswith("#")]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", text)
    assert "&lt;script&gt;" in text and "{{ 7 * 7 }}" in text and "\\x1b[31mred" in text
    assert "$x^2$" in text and "[red]text[/red]" in text


def test_figures_draw_labels_as_they_are():
    """Neither TeX nor XML; characters that a figure cannot hold are shown by their numbers."""
    with style():
        figure = Figure(figsize=(4, 40))
        for k, text in enumerate(NASTY):
            figure.text(0, k / len(NASTY), visible(text))
    svg = str(to_svg(figure, "name", " ".join(NASTY)))
    texts = "".join(xml.etree.ElementTree.fromstring(svg).itertext())
    assert all(visible(text) in texts for text in NASTY)


def test_problem_files_keep_every_text(tmp_path, run):
    """Through TOML, the record and the terminal: equal text comes back, and no control character is printed."""
    file = tmp_path / "p.toml"
    texts = [text for text in NASTY if text.strip()]
    labels, ones = texts[:2], "[1.0, 1.0]"
    name = " ".join(texts)
    file.write_text(
        f"[plant]\nkind = 'linear'\ndt = 0.1\nA = [[0.5, 0.0], [0.0, 0.5]]\nB = [[1.0, 0.0], [0.0, 1.0]]\n"
        f"x_min = [-1.0, -1.0]\nx_max = {ones}\nu_min = [-1.0, -1.0]\nu_max = {ones}\n"
        f"name = {_toml(name)}\nsource = {_toml(name)}\nx_labels = [{', '.join(map(_toml, labels))}]\n"
        f"[backup]\nkind = 'lqr'\nQ = {ones}\nR = {ones}\n[policy]\nkind = 'linear'\n"
        f"[objective]\nkind = 'quadratic'\nQ = {ones}\nR = {ones}\n[scenarios]\ncount = 2\nhorizon = 3\n"
        "[adapt]\nsteps = 1\n"
    )
    for arguments in (
        ["adapt", str(file), "--out", str(tmp_path / "run")], ["verify", str(tmp_path / "run")],
        ["report", str(tmp_path / "run")], ["export", str(tmp_path / "run"), "--out", str(tmp_path / "c")],
    ):  # fmt: skip
        done = run(*arguments, pictures=arguments[0] == "adapt")
        assert done.status == 0, done.err
    plant = tomllib.loads((tmp_path / "run" / "problem.toml").read_text())["plant"]
    assert plant["name"] == plant["source"] == name and plant["x_labels"] == labels
    json.loads((tmp_path / "run" / "result.json").read_text())


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\x00b", "\u202edlof", "[red]x[/red]"])
def test_messages_show_what_they_cannot_print(text, tmp_path, capfd, monkeypatch):
    file = tmp_path / "p.toml"
    file.write_text(f"{json.dumps(text)} = 1\n")
    monkeypatch.setattr(sys, "argv", ["scpo-ctrl", "adapt", str(file), "--out", str(tmp_path / text.replace("\0", ""))])
    with pytest.raises(SystemExit) as done:
        cli.main()
    output = capfd.readouterr()
    assert done.value.code == 2
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", output.err + output.out)
    assert output.err.count("\n") == 1


def test_a_line_on_the_terminal(capfd):
    terminal.say("a\x1b[2J\nb")
    terminal.warn("a\x1b[2J\nb")
    output = capfd.readouterr()
    assert output.out == "a\\x1b[2J\\nb\n" and output.err == "scpo-ctrl: a\\x1b[2J b\n"


@pytest.mark.parametrize("field", ["name", "source", "x_labels", "u_units"])
@pytest.mark.parametrize("value", ["\ud800", 7, None, b"x"])
def test_what_is_no_text(field, value):
    given = value if field in ("name", "source") else [value]
    with pytest.raises(DomainError, match=rf"{field}.* is .*expected text"):
        linear([[0.5]], [[1.0]], 0.1, ([-1.0], [1.0], [-1.0], [1.0]), **{field: given})


def test_labels_of_metrics():
    theta = np.zeros(len(NASTY))
    objective = scpo_ctrl.UserObjective(lambda x: (float(x @ x), 2 * x))
    problem = scpo_ctrl.FunctionProblem(theta, lambda x: x - 1, objective, labels=NASTY)
    text = render_report(scpo_ctrl.adapt(problem, scpo_ctrl.AdaptOptions(steps=1)))
    assert not re.search(r"<script|<img|[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    with pytest.raises(DomainError, match=r"labels\[0\] is 7, expected text"):
        scpo_ctrl.FunctionProblem(theta[:1], lambda x: x - 1, objective, labels=(7,))


@given(st.text())
def test_escaped_text_is_one_line_of_its_language(text):
    for name in ("a.c", "a.h", "README.md", "Makefile", "CMakeLists.txt", "LICENSE"):
        escaped = escape_for(name)(text)
        assert type(escaped) is str and len(escaped.splitlines()) <= 1
        escaped.encode()
    assert not re.search(r'\*/|/\*|\?\?|[\\"\n]', escape_for("a.c")(text))
    assert re.fullmatch(r"[A-Za-z0-9 _.,/+-]*", escape_for("Makefile")(text))
    (_, inline, _) = MarkdownIt().enable("table").parse(f"Plant: {escape_for('README.md')(text)}, 2 states")
    assert [child.type for child in inline.children] == ["text", "code_inline", "text"]
    assert len(visible(text).splitlines()) <= 1


@pytest.mark.parametrize("name", ["a.c", "a.h.jinja", "README.md.jinja", "Makefile.jinja", "CMakeLists.txt.jinja"])
def test_a_template_escapes_whatever_is_not_code(name):
    """However a template joins, cuts or loops: what is not marked as code is escaped."""
    text = "\\ */ ` \x1b $(x)"
    environment = _environment("double", "scpo", name)
    safe = escape_for(name)
    for source, expected in {
        "{{ text }}": safe(text),
        "{{ [text, text] | join(' ') }}": safe(f"{text} {text}"),
        "{{ code ~ text }}": safe(f"1{text}"),
        "{{ code + text }}": safe(f"1{text}"),
        "{% for c in [text] %}{{ c }}{% endfor %}": safe(text),
        "{% set x = text %}{{ x }}": safe(text),
        "{{ code }}": "1",
        "{{ 7 }}": "7",
    }.items():
        assert environment.from_string(source).render(text=text, code=Code("1")) == expected
    with pytest.raises(jinja2.UndefinedError):
        environment.from_string("{{ nothing }}").render()


def test_every_template_has_a_language():
    for name in _environment("double").list_templates():
        escape_for(name)
    with pytest.raises(KeyError):
        escape_for("notes.rst")


def test_every_string_of_a_context_is_known():
    """A new one has to be thought of: whose text is it?"""
    from scpo_ctrl.codegen.context import Context

    strings = {field.name for field in dataclasses.fields(Context) if "str" in str(field.type)}
    assert strings == {"version", "input_hash", "prefix", "real", "plant", "x_names", "u_names", "claim", "shown"}
