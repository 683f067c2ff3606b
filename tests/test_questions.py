"""What a newcomer wants to know is found: in the site's own search, and from the home page.

Builds the site, unless PYUVNET_SITE names one that is built. The search is Sphinx's, run by Node.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cases import cases

ROOT = Path(__file__).resolve().parent.parent
NODE = os.environ.get("PYUVNET_NODE") or shutil.which("node")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(250),
    pytest.mark.skipif(NODE is None, reason="the search is JavaScript: needs Node"),
]

# What is typed into the search, and the pages that answer it: in a recipe, or a page of the guide.
RELOAD = ["howto#reload-tls-certificates-at-sighup", "guide/tls#renewing-certificates"]
LIMIT = ["howto#limit-connections", "guide/limits#limit-the-connections"]
STOP = ["howto#graceful-shutdown", "guide/shutdown"]
CORES = ["howto#run-on-four-cores", "guide/many-cores"]
LINES = ["howto#read-lines", "guide/framing"]
TEST = ["howto#test-a-server", "guide/testing"]
UNHEARD = ["guide/errors#an-error-without-a-listener", "guide/errors"]
DRAIN = ["guide/streams#back-pressure-what-drain-means", "guide/streams"]
QUESTIONS = {
    "reload TLS certificates": RELOAD,
    "renewing certificates": RELOAD,
    "limit connections": LIMIT,
    "graceful stop": STOP,
    "graceful shutdown": STOP,
    "four cores": CORES,
    "multiple cores": CORES,
    "read lines": LINES,
    "testing": TEST,
    "test a server": TEST,
    "error without listener": UNHEARD,
    "unhandled error": UNHEARD,
    "FastAPI": ["guide/frameworks#fastapi"],
    "setTimeout": ["porting", "porting#where-everything-is"],
    "setTimeout EventEmitter Buffer": ["porting", "porting#where-everything-is"],
    "thread safety": ["guide/threads"],
    "memory per connection": ["performance#memory-per-connection"],
    "metrics": ["guide/metrics"],
    "what drain means": DRAIN,
    "backpressure": DRAIN,
}

# The scripts of a search page, without a page: prints the first results of each query.
SEARCH = """
const fs = require("fs"), vm = require("vm");
const [site, ...queries] = process.argv.slice(1);
const nothing = () => {};
const page = vm.createContext({
  console, URLSearchParams, SPHINX_HIGHLIGHT_ENABLED: false, _ready: nothing, _: (text) => text,
  document: {getElementById: nothing, addEventListener: nothing},
});
page.window = page;
const files = ["_static/documentation_options.js", "_static/base-stemmer.js",
  "_static/english-stemmer.js", "_static/language_data.js", "_static/searchtools.js",
  "searchindex.js"];
for (const file of files) vm.runInContext(fs.readFileSync(`${site}/${file}`, "utf8"), page);
page.queries = queries;
const found = vm.runInContext(`queries.map((query) =>
  Search._performSearch(...Search._parseQuery(query)).reverse().slice(0, 3)
    .map(([page, , anchor]) => page + anchor))`, page);
console.log(JSON.stringify(found));
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "PYUVNET_SITE" in os.environ:
        return Path(os.environ["PYUVNET_SITE"])
    for needed in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "sphinx", "-q", ROOT / "docs", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def results(site: Path) -> dict[str, list[str]]:
    """The first three results of each query, as pages with anchors."""
    command = [str(NODE), "-e", SEARCH, "--", str(site), *QUESTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(QUESTIONS, json.loads(done.stdout), strict=True))


@cases("query", QUESTIONS)
def test_the_search_answers(results: dict[str, list[str]], query: str) -> None:
    assert set(QUESTIONS[query]) & set(results[query]), results[query]


def links_of(page: Path) -> set[str]:
    """Where the text of a page links to, without its sidebars: addresses below the site."""
    text = re.search(r"<article.*?</article>", page.read_text("utf-8"), re.S)
    assert text is not None
    found = set()
    for link in re.findall(r'href="([^"]+)"', text[0]):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page.resolve()
        if "://" not in link and target.suffix == ".html":
            found.add(f"{target}#{anchor}".rstrip("#"))
    return found


def test_home_is_two_clicks_away(site: Path) -> None:
    first = links_of(site / "index.html")
    second = {link for page in first for link in links_of(Path(page.partition("#")[0]))}
    reached = {link.removeprefix(f"{site.resolve()}/") for link in first | second}
    reached = {link.replace(".html", "") for link in reached}
    for query, answers in QUESTIONS.items():
        assert reached & {*answers}, query
