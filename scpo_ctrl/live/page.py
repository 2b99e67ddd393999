"""The live page itself, which its events fill in."""

from functools import cache

from scpo_ctrl.report.templating import digest, part_of_page, template


@cache
def page() -> tuple[bytes, str]:
    """Return the page, and the policy under which a browser shows it.

    Returns
    -------
    page : bytes
        HTML.
    policy : str
        Its Content-Security-Policy: one style and one script, by their digests, and events from where the page is from.
    """
    style, script = (
        part_of_page("report.css", "watch.css"),
        part_of_page("chart.js", "history.js", "signals.js", "watch.js"),
    )
    policy = (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return template("watch.html.jinja").render(style=style, script=script).encode(), policy
