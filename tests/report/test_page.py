"""HTML that is safe whatever is put into it."""

import json
import math
import re

import numpy as np

from pose_lightning.report.page import POLICY, Html, Page, counted, element, interval, marked, number, picture, table

HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_text_and_attributes_are_escaped_and_html_is_not() -> None:
    made = element("a", "1 < 2", Html("<b>x</b>"), title='"quoted"', class_="k", data_key="v", hidden=True, open=False)
    assert made == '<a title="&quot;quoted&quot;" class="k" data-key="v" hidden>1 &lt; 2<b>x</b></a>'


def test_a_page_escapes_all_that_it_is_given() -> None:
    page = Page(HOSTILE, subtitle=HOSTILE)
    chart = page.chart("lines", HOSTILE, {"series": [{"label": HOSTILE}]})
    page.section("a", HOSTILE, table(HOSTILE, [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]]), marked(f"`{HOSTILE}`"), chart)
    text = page.render()
    assert "<img" not in text
    assert text.count("</script>") == 2  # those of the data and of the code
    stored = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert stored is not None
    assert json.loads(stored[1]) == {"lines-0": {"series": [{"label": HOSTILE}]}}


def test_a_page_names_nothing_outside_of_itself() -> None:
    page = Page("title")
    page.section("a", "A", page.chart("bars", "caption", {}), picture(np.zeros((4, 6, 3), np.uint8), "black"))
    text = page.render()
    assert POLICY.startswith("default-src 'none'")
    addresses = set(re.findall(r"\w+://[^\"'\s]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a namespace, which nobody fetches
    assert set(re.findall(r'src="([a-z:/]+)', text)) == {"data:image/jpeg"}


def test_undefined_numbers_are_dashes_and_null() -> None:
    assert number(math.nan) == number(None) == interval({"value": None}) == "\N{EN DASH}"
    page = Page("title")
    page.section("a", "A", page.chart("bars", "caption", {"values": [math.nan, math.inf, 1 / 3]}))
    assert '{"values":[null,null,0.333333]}' in page.render()


def test_an_empty_section_is_left_out() -> None:
    page = Page("title")
    page.section("empty", "Empty")
    assert 'id="empty"' not in page.render()


def test_large_numbers_have_three_digits() -> None:
    found = [counted(count) for count in (None, 999, 5_496, 423_712, 999_900_000, 4_134_742_016)]
    assert found == ["\N{EN DASH}", "999", "5.5 k", "424 k", "1000 M", "4.13 G"]


def test_columns_of_words_begin_at_the_left() -> None:
    made = table("caption", ["run", "state", "score"], [["a", "complete", "98.57"], ["b", "failed", "\N{EN DASH}"]])
    assert '<td class="words">failed</td><td>\N{EN DASH}</td>' in made


def test_two_sections_of_a_name_have_two_addresses() -> None:
    page = Page("title")
    for _ in range(2):
        page.section("a", "A", "text")
    assert re.findall(r'<section id="([^"]+)"', page.render()) == ["a", "a.2"]


def test_a_demo_is_said_on_top() -> None:
    assert "DEMO." in Page("title", demo=True).render()
    assert "DEMO." not in Page("title").render()
