"""How soon a page is seen: the first contentful paint of report.html in Chromium, beside that of an empty page.

    python examples/benchmarks/first_paint.py [runs/demo/report.html] [--repeat 10]

The two pages are opened in turn, and the least time of each counts: what else the machine does makes it longer.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from browser import Browser

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def main() -> None:
    """Print the least times to the first paint, and to the end of the loading, of both pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, default=Path("runs/demo/report.html"))
    parser.add_argument("--repeat", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.html"
        empty.write_text("<!DOCTYPE html><title>empty</title><p>empty</p>", encoding="utf-8")
        browser = Browser(Path(folder) / "profile")
        times: dict[Path, list[tuple[float, float]]] = {empty: [], given.page: []}
        for _ in range(given.repeat):
            for page, found in times.items():
                browser.open(page)
                found.append((browser.value(PAINT), browser.value(LOADED)))
        browser.close()
    for page, found in times.items():
        paint, loaded = (min(column) for column in zip(*found, strict=True))
        print(f"{page.name:14}  first paint {paint:6.0f} ms   loaded {loaded:6.0f} ms   ({given.repeat} times)")


if __name__ == "__main__":
    main()
