"""Look at the documentation in a real browser: what overflows, and what is hard to read.

    pip install playwright, and a Chromium on PATH
    sphinx-build -q docs build/site && python tools/screens.py build/site
    python tools/screens.py build/site --shots build/screens --page guide/tls --width 390

Each page is opened at three widths, in the light and the dark theme. Reported, with exit code 1:

- a page that can be scrolled sideways, and the elements that stick out. A table or a block of code
  wider than its column is expected to scroll inside its own box.
- text whose contrast to its background is below WCAG's AA: 4.5:1, and 3:1 if large.

With --shots, a picture of each page is kept as DIR/PAGE-WIDTH-THEME.png. .ci/run looks at some
pages, if there is a Chromium: run it for all after a change to the stylesheet or the theme.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

WIDTHS = (390, 768, 1400)
THEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# The elements beyond the right edge, outermost first, unless an ancestor scrolls or clips them.
STICKS_OUT = """() => {
  const edge = document.documentElement.clientWidth;
  const out = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (element.getBoundingClientRect().right <= edge + 1) continue;
    let inside = false;
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible" || out.some(([known]) => known === up))
        inside = true;
    const style = getComputedStyle(element);
    if (!inside && style.visibility !== "hidden" && style.position !== "fixed")
      out.push([element, `${element.tagName.toLowerCase()}.${element.className}: ` +
        element.textContent.trim().replace(/\\s+/g, " ").slice(0, 60)]);
  }
  return out.map(([, words]) => words);
}"""

# Text below the contrast of WCAG's AA, once for each pair of colours.
HARD_TO_READ = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) =>
    [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let up = element; up; up = up.parentElement) {
      const colour = rgba(getComputedStyle(up).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const luminance = (colour) => colour.slice(0, 3).map((value) => {
    value /= 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }).reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const seen = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.textContent.trim();
    if (!words || !element.checkVisibility({opacityProperty: true, visibilityProperty: true}))
      continue;
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!box.width || !box.height || style.userSelect === "none") continue;
    const drawn = element.closest("svg") !== null;
    if (drawn) continue;  // its backgrounds are shapes, which have to be looked at
    const back = behind(element);
    const front = over(rgba(style.color), back);
    const [dark, light] = [luminance(back), luminance(front)].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    const name = `${element.tagName.toLowerCase()}.${element.className} ${style.color}`;
    if (ratio < (large ? 3 : 4.5) && !seen.has(name))
      seen.set(name, `${name}: ${ratio.toFixed(2)}:1 ${words.slice(0, 40)}`);
  }
  return [...seen.values()];
}"""


def pages(site: Path, only: list[str]) -> list[Path]:
    found = [
        path
        for path in sorted(site.rglob("*.html"))
        if not {"_static", "_modules"} & set(path.relative_to(site).parts)
    ]
    return [path for path in found if not only or name_of(site, path) in only]


def name_of(site: Path, path: Path) -> str:
    return path.relative_to(site).with_suffix("").as_posix()


def look_at(
    page: Any, site: Path, path: Path, width: int, theme: str, shots: Path | None
) -> list[str]:
    """What is wrong with one page at one width in one theme."""
    name = f"{name_of(site, path)} at {width} px, {theme}"
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.resolve().as_uri())
    page.evaluate(f"document.body.dataset.theme = '{theme}'")
    wrong = []
    needed = page.evaluate("document.documentElement.scrollWidth")
    if needed > page.evaluate("document.documentElement.clientWidth"):
        wrong.append(f"{name}: {needed} px wide")
        wrong += [f"    {words}" for words in page.evaluate(STICKS_OUT)]
    hard = page.evaluate(HARD_TO_READ)
    wrong += [f"{name}: contrast of {words}" for words in hard]
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
        file = f"{name_of(site, path).replace('/', '.')}-{width}-{theme}.png"
        page.screenshot(path=shots / file, full_page=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("site", type=Path, help="the folder that sphinx-build wrote")
    parser.add_argument("--shots", type=Path, help="keep a picture of each page here")
    parser.add_argument("--page", action="append", default=[], help="only this page: guide/tls")
    parser.add_argument("--width", type=int, action="append", help="only this width, in px")
    parser.add_argument("--browser", help="the program to run instead of a Chromium on PATH")
    options = parser.parse_args()

    from playwright.sync_api import sync_playwright

    program = options.browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    chosen = pages(options.site, options.page)
    if not chosen:
        parser.error(f"no such page in {options.site}")
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for theme in THEMES:
            page = browser.new_context(color_scheme=theme).new_page()
            for path in chosen:
                for width in options.width or WIDTHS:
                    found = look_at(page, options.site, path, width, theme, options.shots)
                    print("\n".join([*found, ""]), end="", flush=True)
                    wrong += found
        browser.close()
    if not wrong:
        print(f"{len(chosen)} pages: nothing overflows, all text is readable")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
