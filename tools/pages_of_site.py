"""Adds to the site what lies elsewhere: pages outside of docs/, and `tfsr.tflite`.

This is a hook of mkdocs.yml, and an extension of its reader of Python. Links between
pages are rewritten to the places that the pages have in the site.
"""

import posixpath
import re
from pathlib import Path

from griffe import Extension
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {  # in the repository, and on the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "tflite/README.md": "tflite.md",
}
CARDS = {
    file.relative_to(ROOT).as_posix(): f"card_{file.name}"
    for file in sorted(ROOT.glob("tfsr/released/*.md"))
}
SITE = {**PAGES, **CARDS}
REPOSITORY = {page: file for file, page in SITE.items()}
LINK = re.compile(r"(\]\()([^)#\s]+)")


def on_files(files, config):
    for file, page in SITE.items():
        source = (ROOT / file).as_posix()
        files.append(File.generated(config, page, abs_src_path=source))
    links = [f"- [{Path(file).stem}]({page[:-3]}.md)" for file, page in CARDS.items()]
    text = "# Cards of released models\n\n" + "\n".join(links) + "\n"
    files.append(File.generated(config, "cards.md", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    here = REPOSITORY.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    folder = posixpath.dirname(here)

    def to_site(match):
        before, link = match.groups()
        if ":" in link or page.file.src_uri == "cards.md":
            return match[0]
        target = posixpath.normpath(posixpath.join(folder, link))
        return before + SITE.get(target, target.removeprefix("docs/"))

    return LINK.sub(to_site, markdown)


class FolderTflite(Extension):
    """Shows griffe the folder `tflite` as `tfsr.tflite`, as setup.cfg installs it."""

    def on_package(self, *, pkg, loader, **_):
        if pkg.name == "tfsr":
            pkg.set_member("tflite", loader.load("tflite"))
