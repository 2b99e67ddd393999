"""The search box of the built site: the site's own script ranks the pages, in a browser."""

import json
import os
from pathlib import Path

import pytest
from browser import Browser

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "docs"
FIRST = 3  # places in the list that a reader looks at
# What the box lists, best first: the script takes results from the end.
RANKED = """(() => {{
  const [query, terms, excluded, highlighted, objects] = Search._parseQuery({});
  return Search._performSearch(query, terms, excluded, highlighted, objects).map(([page]) => page).reverse();
}})()"""


def test_every_question_is_answered_by_one_of_the_first_three_pages_found(tmp_path):
    if not (SITE / "searchindex.js").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("no site was built; make docs")
        pytest.skip("no site was built; make docs")
    table = (ROOT / "tests" / "docs_questions.md").read_text(encoding="utf-8")
    questions = [line.strip("| ").split(" | ") for line in table.splitlines() if ".md |" in line]
    assert len(questions) >= 20
    browser = Browser(tmp_path)
    try:
        browser.open(SITE / "search.html")
        for question, search, page, _ in questions:
            found = list(dict.fromkeys(browser.value(RANKED.format(json.dumps(search)))))
            assert page.removesuffix(".md") in found[:FIRST], f"{question} {search!r} finds {found[:FIRST]}"
    finally:
        browser.close()
