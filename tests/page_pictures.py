"""Pictures of a page at several widths, in light and dark, for docs: python tests/page_pictures.py PAGE FOLDER NAME."""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

from browser import Browser
from PIL import Image

HEIGHTS = {390: 1560, 800: 1560, 1400: 1480}  # [px] of the top that is shown, by width


def main() -> None:
    """Write NAME_WIDTH_SCHEME.png, with few colours, so that they stay small."""
    page, folder, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as there:
        browser = Browser(Path(there))
        for width, height in HEIGHTS.items():
            for dark in (False, True):
                browser.open(page, width, dark=dark)
                browser.picture(path := folder / f"{name}_{width}_{'dark' if dark else 'light'}.png", height)
                Image.open(BytesIO(path.read_bytes())).convert("RGB").quantize(64).save(path, optimize=True)
        browser.close()


main()
