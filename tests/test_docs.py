"""Pages name files that exist, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').rglob('*.md'))]

of_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)


def named_paths(text: str) -> set[str]:
    """Paths below the folders of the checkout; ``*`` stands for any characters."""
    found = re.findall(r'(?<![\w/.-])((?:tests|tools|hvs_mm|configs)/[\w./*-]*)', text)
    return {path.rstrip('.') for path in found}


def links(text: str) -> set[str]:
    """Targets of links and pictures within the checkout."""
    found = re.findall(r'\]\(([^)\s]+)\)', re.sub(r'```.*?```', '', text, flags=re.DOTALL))
    return {target for target in found if not re.match(r'\w+:', target)}


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    lines = re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE).splitlines()
    headings = [line.lstrip('#').strip().lower() for line in lines if re.match('#+ ', line)]
    return {re.sub(r'[^\w -]', '', heading).replace(' ', '-') for heading in headings}


@of_page
def test_named_files_exist(page: Path) -> None:
    missing = [path for path in sorted(named_paths(page.read_text())) if not any(ROOT.glob(path))]
    assert not missing


@of_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in sorted(links(page.read_text())):
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert not broken


def test_what_is_found() -> None:
    text = (
        '# A title: `code`, twice\n`tests/test_docs.py`. [a](b.md#c-d) [e](https://f.g) '
        '![h](i.svg)\n```\n# no heading\n[j](k)\ntools/nothing.py --flag\n```\n'
    )
    assert named_paths(text) == {'tests/test_docs.py', 'tools/nothing.py'}
    assert links(text) == {'b.md#c-d', 'i.svg'}
    assert anchors(text) == {'a-title-code-twice'}
