"""Docstrings as Markdown: roles become links, links of reStructuredText those of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r':(?:attr|class|data|func|meth|mod):`~?([\w.]+)`')
_LINK = re.compile(r'`([^`<]+?)\s*<(https?://[^>\s]+)>`_+')


class MarkdownDocstrings(griffe.Extension):
    """Rewrites the docstrings of a package before they are parsed."""

    def on_package_loaded(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        self.rewrite(pkg)

    def rewrite(self, found: griffe.Object) -> None:
        if found.docstring is not None:
            text = _LINK.sub(
                lambda link: f'[{" ".join(link[1].split())}]({link[2]})', found.docstring.value
            )
            found.docstring.value = _ROLE.sub(lambda role: link_to(role[1], found), text)
        for member in found.members.values():
            if not member.is_alias:
                self.rewrite(member)


def link_to(name: str, found: griffe.Object) -> str:
    """A link to what a docstring names; the plain name where the site has no such entry."""
    try:
        path = found.resolve(name)
    except griffe.NameResolutionError:
        path = name
    # `optional`: most helpers of the package are not on the site.
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'
