"""What the site adds to the folder ``docs/``: notebooks as pages, and pages of the top folder."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
#: Files of the checkout, relative to it, that are pages of the site under another name.
PAGES = {
    'README.md': 'overview.md',
    'CHANGELOG.md': 'changelog.md',
    'CONTRIBUTING.md': 'contributing.md',
    'SECURITY.md': 'security.md',
}
_REQUEST = re.compile(
    r'<(?:script|link|img|iframe|source|object)\b[^>]*\b(?:src|href|data)="((?:https?:)?//[^"]+)"'
)
_LINK = re.compile(r'(?<=\]\()(?!\w+:|#)([^)\s#]+)')


def notebook_markdown(text: str, name: str) -> str:
    """The cells of a notebook as a page; the notebooks here are kept without outputs."""
    parts = []
    for cell in json.loads(text)['cells']:
        source = ''.join(cell['source'])
        parts.append(f'```python\n{source}\n```' if cell['cell_type'] == 'code' else source)
    # After the title.
    parts.insert(1, f'*This page is a notebook: [download it]({name}).*')
    return '\n\n'.join(parts) + '\n'


def site_link(link: str, page: str) -> str:
    """Where a link of a file of the checkout leads on the site.

    Args:
        link: Relative link in the text.
        page: Path of the file in the checkout, such as ``'docs/index.md'``.
    """
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    target = PAGES.get(target, target.removeprefix('docs/'))
    if target.endswith('.ipynb') and page != 'README.md':
        target = target.removesuffix('.ipynb') + '.md'
    return posixpath.relpath(target, posixpath.dirname(site_path(page)) or '.')


def site_path(page: str) -> str:
    return PAGES.get(page, page.removeprefix('docs/'))


def rewrite_links(text: str, page: str) -> str:
    """Markdown with its relative links as on the site; code stays as it is."""
    parts = re.split(r'(^```.*?^```$)', text, flags=re.DOTALL | re.MULTILINE)
    for index in range(0, len(parts), 2):
        parts[index] = _LINK.sub(lambda link: site_link(link[1], page), parts[index])
    return ''.join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding='utf-8')
        files.append(File.generated(config, name, content=rewrite_links(text, source)))
    for file in list(files):
        if file.src_uri.endswith('.ipynb'):
            name = posixpath.basename(file.src_uri)
            text = notebook_markdown(file.content_string, name)
            page = file.src_uri.removesuffix('.ipynb') + '.md'
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    # A generated page has its links already.
    if page.file.generated_by is not None:
        return markdown
    return rewrite_links(markdown, f'docs/{page.file.src_uri}')


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Pages opened from disk ask no other machine for scripts, styles, fonts or pictures."""
    if found := _REQUEST.search(output):
        raise PluginError(f'{page.file.src_uri} would load {found[1]}. Keep a copy in docs/.')
    return output
