"""What users read claims no more than was shown: whoever calls policies safe, or a loop stable, says on what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READ = sorted(
    path
    for folder, pattern in (
        (".", "README.md"),
        ("docs", "**/*.md"),
        ("examples", "**/*.py"),
        ("models", "*.py"),
        ("scpo_ctrl/data", "*.toml"),
        ("scpo_ctrl/report/templates", "*"),
        ("codegen/templates", "*"),
        ("codegen/runtime/include", "*.h"),
        *((folder, "**/*.py") for folder in ("scpo_ctrl", "codegen")),
    )
    for path in (ROOT / folder).glob(pattern)
    if path.is_file()
)
SCENARIOS = r"\bscenarios?\b|\bon (them|S\b|the larger S\b)"
# A claim to its clause's end, and what has to stand in it.
CLAIMS = {
    r"\b(every|each|all|any|no)\b[^.;:]*\bpolic(y|ies)\b[^.;:]*\b(is|are|be|stays?) (always |never )?safe\b": SCENARIOS,
    r"\b(safe (at|in) every (step|commit)|every (step|commit) (is|was) safe)\b": SCENARIOS,
    r"\b(always|provably|absolutely|guaranteed( to be)?) safe\b|\bnever (unsafe|violates?|breaks?)\b": SCENARIOS,
    r"\bloop is exponentially stable\b": r"\b(while|where|if)\b",
}  # fmt: skip


def sentences(text: str) -> list[str]:
    """Return sentences on a line each, without the marks of comments, lists and markup."""
    text = re.sub(r"<[^>]*>|[*`#/]", " ", text)
    return [" ".join(sentence.split()) for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z(])|\n\s*\n|\n\s*[-|] ", text)]


def unfounded(text: str) -> list[str]:
    """Return the sentences that claim something without saying on what."""
    return [
        sentence
        for sentence in sentences(text)
        for claim, ground in CLAIMS.items()
        if (found := re.search(claim + "[^.;:]*", sentence, re.IGNORECASE)) and not re.search(ground, found[0])
    ]


def test_there_is_something_to_read():
    assert {"README.md", "ten_lines.py", "method.md", "scpo.h", "report.html.jinja", "README.md.jinja"} <= {
        path.name for path in READ
    }


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_claims_name_their_ground(path):
    assert unfounded(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        'print(f"every committed policy is safe: {result.is_safe()}")',
        "Every policy that is ever committed is safe, whatever the objective.",
        "By induction every committed policy\nis safe: θ₀ is.",
        "- The final loop is exponentially stable at rest, for nominal parameters.",
        "# From a slow backup to a fast policy, safe at every step.",
        "It is <b>always</b> safe.",
        "Every committed policy is safe if the constants are bounds; they come from the scenarios.",
    ],
)
def test_what_claims_more_is_found(text):
    assert len(unfounded(text)) == 1
    assert unfounded("Every committed policy is safe on every scenario. Safe is what keeps all metrics.") == []
