"""The page: one HTML file with everything in it, whose text is escaped wherever it comes from."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any, Final

from pose_lightning.browse.overview import Chart

RULES: Final[Mapping[str, str]] = {
    "label": "One picture under two labels",
    "other split": "The same in two splits",
    "sides": "Left and right swapped",
    "unit": "Unit or order of joints in doubt",
    "bone": "A bone's length is not the body's",
    "long limb": "A limb is too long",
    "misfit": "Limbs do not fit one body",
    "jump": "A joint jumps",
    "root": "The root is not at the origin",
    "outside": "Joints outside the picture",
    "head": "Head size does not fit the body",
    "tiny": "Very small",
    "shape": "Very long or very high",
    "together": "Two joints at one place",
    "duplicate": "Duplicate",
    "plain": "Shows nothing",
    "unlabelled": "Has no label",
}
"""What a sample may be suspected of, the gravest first."""


def render(title: str, *, facts: Sequence[str], warning: str, charts: Sequence[Chart], data: Mapping[str, Any]) -> str:
    """The page's text.

    Args:
        title: Of the page.
        facts: Sentences below it.
        warning: A loud one, or empty.
        charts: Tables of the statistics.
        data: What the script reads.
    """
    folder = resources.files("pose_lightning.browse")
    read = {name: (folder / name).read_text(encoding="utf-8") for name in ("sheet.html", "sheet.css", "sheet.js")}
    return Template(read["sheet.html"]).substitute(
        title=escape(title),
        facts="\n".join(f"<p>{escape(fact)}</p>" for fact in facts),
        warning=f'<p class="warning" role="note">{escape(warning)}</p>' if warning else "",
        charts="\n".join(_chart(chart) for chart in charts),
        style=read["sheet.css"],
        script=read["sheet.js"],
        data=script_json(data),
    )


def script_json(data: Any) -> str:
    """JSON that may stand inside a script element: nothing in it ends the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _chart(chart: Chart) -> str:
    """A table whose cells have bars."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in chart.series)
    rows = []
    for label, values in zip(chart.labels, chart.values.tolist(), strict=True):
        cells = []
        for place, value in enumerate(values):
            text = f"{value:.1f}" if chart.unit == "%" else f"{value:,.0f}"
            bar = 100 * value / chart.full[place]
            cells.append(f'<td class="s{place % 4}"><span><i style="width:{bar:.1f}%"></i></span>{text}</td>')
        rows.append(f'<tr><th scope="row">{escape(label)}</th>{"".join(cells)}</tr>')
    note = f"<p>{escape(chart.note)}</p>" if chart.note else ""
    return (
        f'<div class="chart"><table><caption>{escape(chart.title)}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{note}</div>"
    )
