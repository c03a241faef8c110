"""HTML that is safe whatever a run holds: every text is escaped, unless it is HTML that was made here."""

import base64
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import numpy as np
import simplejpeg

from pose_lightning import __version__, draw

POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may load: nothing that is not in the file."""

STYLES: Final = ("page.css",)
SCRIPTS: Final = ("charts.js", "curves.js", "sweeps.js", "poses.js", "page.js")
QUALITY: Final = 82
DASH: Final = "\N{EN DASH}"
"""Where a number is undefined."""

VOID: Final = ("br", "hr", "img", "input", "link", "meta")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = Html | str | int | float | None


def element(tag: str, *content: Content, **attributes: Any) -> Html:
    """One element; content that is no `Html` is escaped, and so are attributes.

    Attributes may end in `_` where Python has the word, and have `_` for `-`. None and False leave one out, True gives
    it without a value.
    """
    parts = [tag]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(name)
        elif value is not None and value is not False:
            parts.append(f'{name}="{html.escape(str(value))}"')
    start = f"<{' '.join(parts)}>"
    return Html(start) if tag in VOID else Html(f"{start}{join(content)}</{tag}>")


def join(content: Iterable[Content]) -> Html:
    """The pieces one after the other, escaped where they are text; None is nothing."""
    return Html(
        "".join(each if isinstance(each, Html) else html.escape(str(each)) for each in content if each is not None)
    )


def lines(tag: str, texts: Iterable[Content], **attributes: Any) -> Html:
    """A list, `ul` or `ol`."""
    return element(tag, *(element("li", each) for each in texts), **attributes)


def table(
    caption: str, heads: Sequence[Content], rows: Sequence[Sequence[Content]], *, class_: str | None = None
) -> Html:
    """A table with a caption; the first cell of a row is its heading. Columns of words begin at the left."""
    words = [any(type(cell) is str and cell[:1].isalpha() for cell in column) for column in zip(*rows, strict=True)]
    kinds = ["words" if each else None for each in words] or [None] * len(heads)
    top = (element("th", head, scope="col", class_=kind) for head, kind in zip(heads, kinds, strict=True))
    body = (
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    )
    return scrolling(caption, element("thead", element("tr", *top)), element("tbody", *body), class_=class_)


def scrolling(caption: str, *parts: Content, class_: str | None = None) -> Html:
    """A table of these parts with a caption that stays in sight; a wide one scrolls, with the keyboard too."""
    inner = element("table", element("caption", element("span", caption)), *parts, class_=class_)
    return element("div", inner, class_="scroll", role="region", aria_label=caption, tabindex="0")


def details(summary: Content, *content: Content, opened: bool = False) -> Html:
    """Content that is folded away."""
    return element("details", element("summary", summary), *content, open=opened)


def keys(meanings: Mapping[str, str]) -> Html:
    """What the colours of pictures mean."""
    each = (element("span", element("span", class_=f"key {name}"), f" {said}") for name, said in meanings.items())
    return element("p", *each, class_="keys")


def note(text: str) -> Html:
    """A remark, such as what is missing and how to get it; what stands in backticks is code."""
    return element("p", marked(text), class_="note")


def marked(text: str) -> Html:
    """Text, with what stands in backticks as code."""
    return join(code(part) if place % 2 else part for place, part in enumerate(text.split("`")))


def code(text: str) -> Html:
    """A command or a path."""
    return element("code", text)


def picture(image: draw.Picture, alt: str, **attributes: Any) -> Html:
    """A picture within the page, as JPEG."""
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=QUALITY, colorspace="RGB")
    source = f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
    height, width = image.shape[:2]
    return element("img", src=source, alt=alt, width=width, height=height, decoding="async", **attributes)


def number(value: Any, digits: int = 2) -> str:
    """A number, or a dash where it is undefined."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:,.{digits}f}"


def short(value: Any, digits: int = 3) -> str:
    """A number with few digits, large ones in whole and with separators."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def counted(value: int | None) -> str:
    """A large whole number with three digits and k, M or G."""
    if value is None:
        return DASH
    for power, letter in ((9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{float(f'{value / 10**power:.3g}'):g} {letter}"
    return str(value)


def interval(estimate: Mapping[str, Any] | None, digits: int = 2) -> Content:
    """A value, and its interval in small print."""
    if not estimate or estimate.get("value") is None:
        return DASH
    low, high = estimate.get("low"), estimate.get("high")
    ends = None if low is None or high is None else element("small", f"{number(low, digits)} to {number(high, digits)}")
    return join([number(estimate["value"], digits), " " if ends else None, ends])


@dataclass
class Page:
    """A page that grows by sections and charts.

    Attributes:
        title: Of the page.
        demo: Whether drawn data is on it, which is then said on top of it.
        subtitle: Below the title.
    """

    title: str
    demo: bool = False
    subtitle: str = ""
    _sections: list[tuple[str, str, Html]] = field(default_factory=list)
    _charts: dict[str, Any] = field(default_factory=dict)

    def section(self, name: str, title: str, *content: Content) -> None:
        """Add a section, unless it has no content; a name that is taken gets a number."""
        if body := join(content):
            alike = sum(taken.partition(".")[0] == name for taken, _, _ in self._sections)
            self._sections.append((f"{name}.{alike + 1}" if alike else name, title, body))

    def chart(self, kind: str, caption: str, data: Mapping[str, Any], **attributes: Any) -> Html:
        """A place that a script fills from `data`: NaN and infinities become null."""
        key = f"{kind}-{len(self._charts)}"
        self._charts[key] = _plain(data)
        head = element("figcaption", caption, id=f"{key}-caption")
        room = element("div", class_="plot")
        return element("figure", head, room, class_=f"chart {kind}", data_chart=kind, data_key=key, **attributes)

    def render(self) -> str:
        """The whole file."""
        links = [element("a", title, href=f"#{name}") for name, title, _ in self._sections]
        banner = (
            element(
                "p",
                element("strong", "DEMO. "),
                "Drawn data: these numbers show how the suite works and say nothing about photographs.",
                class_="banner",
                role="note",
            )
            if self.demo
            else None
        )
        button = element("button", "Dark", type="button", id="theme", hidden=True)
        header = element(
            "header",
            element("div", element("h1", self.title), button, class_="head"),
            element("p", self.subtitle, class_="subtitle"),
            banner,
        )
        main = element(
            "main",
            *(
                element(
                    "section", element("h2", title, id=f"{name}-title"), body, id=name, aria_labelledby=f"{name}-title"
                )
                for name, title, body in self._sections
            ),
            id="content",
        )
        # "<" must not end the script element, and U+2028 no line of it
        stored = json.dumps(self._charts, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", name="generator", content=f"pose_lightning {__version__}"),
            element("title", self.title),
            element("style", Html("\n".join(map(_asset, STYLES)))),
        )
        body = element(
            "body",
            element("a", "Skip to the content", href="#content", class_="skip"),
            header,
            element("nav", *links, aria_label="Sections"),
            element("noscript", note("The charts need JavaScript; the tables do not.")),
            main,
            element("footer", element("p", f"Made by pose_lightning {__version__}.")),
            element("script", Html(stored), type="application/json", id="data"),
            element("script", Html("\n".join(map(_asset, SCRIPTS)))),
        )
        return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _asset(name: str) -> str:
    return (files("pose_lightning.report") / "assets" / name).read_text(encoding="utf-8")


def _plain(value: Any) -> Any:
    """The value with null where a number is undefined, and floats of 6 digits: the file stays small."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
