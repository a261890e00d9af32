"""The page of a report as a browser lays it out, on a desktop and on a phone; skipped where there is no Chromium."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from dlzoo.report import html, plots
from tests.fake_report import VARIANTS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

#: Show the page in a frame of each width, and write down what is where.
MEASURE = """<!doctype html><body><pre id="found"></pre><script>
const found = {}, widths = [1280, 390];
function box(element) { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 900; frame.src = "page.html";
  frame.onload = () => setTimeout(() => {
    const page = frame.contentDocument;
    found[width] = {
      width: page.documentElement.scrollWidth,
      captions: [...page.querySelectorAll(".plots")].map(row => [...row.querySelectorAll("figcaption")].map(box)),
      plots: [...page.querySelectorAll(".plots")].map(row => [...row.querySelectorAll("svg")].map(box)),
      tables: [...page.querySelectorAll(".scroll")].filter(each => each.checkVisibility()).map(each => ({
        wide: each.scrollWidth > each.clientWidth + 1,
        hint: frame.contentWindow.getComputedStyle(each, "::before").visibility,
        shadow: frame.contentWindow.getComputedStyle(each).backgroundImage.split("linear-gradient").length - 1,
      })),
    };
    const done = Object.keys(found).length === widths.length;
    if (done) document.getElementById("found").textContent = JSON.stringify(found);
  }, 1000);  // the hint of a table is there from the frame after the layout on
  document.body.append(frame);
}
</script></body>"""


def laid_out(name: str, folder: Path) -> dict[str, Any]:
    made = VARIANTS[name]()
    (folder / "page.html").write_text(html.page(made, plots.draw(made)), encoding="utf-8")
    (folder / "measure.html").write_text(MEASURE, encoding="utf-8")
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
               f"--user-data-dir={folder / 'browser'}", "--virtual-time-budget=5000", "--window-size=1700,2000",
               "--dump-dom", (folder / "measure.html").as_uri()]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    written = re.search(r'<pre id="found">(.+?)</pre>', result.stdout, re.DOTALL)
    assert written, result.stderr
    return json.loads(unescape(written[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_captions_are_aligned_and_wide_tables_show_that_they_scroll(tmp_path: Path) -> None:
    found = laid_out("norms", tmp_path)
    for width in ("1280", "390"):
        assert found[width]["width"] <= int(width)  # only tables scroll
        for captions, drawings in zip(found[width]["captions"], found[width]["plots"], strict=True):
            for caption, drawing in zip(captions, drawings, strict=True):
                assert caption[0] == pytest.approx(drawing[0], abs=1)
                assert 0 <= caption[1] - drawing[3] <= 16  # just below its plot
        assert all(table["shadow"] == 4 for table in found[width]["tables"])
        assert all((table["hint"] == "visible") == table["wide"] for table in found[width]["tables"])
    side_by_side = found["1280"]["captions"][0]
    assert len(side_by_side) == 2 and side_by_side[0][1] == side_by_side[1][1]
    assert any(table["wide"] for table in found["390"]["tables"])
    assert not any(table["wide"] for table in found["1280"]["tables"])
