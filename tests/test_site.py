"""The site of the docs: it builds, its links lead somewhere, it knows what there is."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import tfsr
from tfsr.networks import NETWORKS

ROOT = Path(__file__).parent.parent
LOADED = {"img", "link", "script", "source", "iframe"}  # by the page itself


class Page(HTMLParser):
    """What a page links to and loads, and the places in it."""

    def __init__(self, file):
        super().__init__()
        self.links, self.loaded, self.places = set(), set(), set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found.get("id"), found.get("name")}
        link = found.get("href") or found.get("src")
        if link and found.get("rel") != "canonical":
            (self.loaded if tag in LOADED else self.links).add(link)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="the site is built with the extra docs")
    pytest.importorskip("mkdocstrings", reason="the site is built with the extra docs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_links_lead_somewhere_and_nothing_comes_from_elsewhere(site):
    pages = {file: Page(file) for file in site.glob("*.html") if file.stem != "404"}
    assert {"index", "photos", "app", "training", "research", "api", "carn"} <= {
        file.stem for file in pages
    }
    broken = []
    for file, page in pages.items():
        assert [link for link in page.loaded if re.match("(https?:)?//", link)] == []
        for link in page.links | page.loaded:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, place = link.partition("#")
            target = (site / unquote(path)).resolve() if path else file
            known = pages[target].places if target in pages and place else {place}
            if not target.exists() or unquote(place) not in known:
                broken.append((file.name, link))
    assert broken == []


def test_the_api_page_has_all(site):
    places = Page(site / "api.html").places
    functions = {
        f"tfsr.{name}" for name in tfsr.__all__ if name[0] != "_" and name != "MODELS"
    }
    modules = {f"tfsr.{name}" for name in tfsr._MODULES}
    assert functions - modules <= places
    assert {where.replace(":", ".") for where in NETWORKS.values()} <= places
