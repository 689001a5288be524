"""Write what pip has resolved into a file of constraints: `make upgrade` calls it."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def resolved_versions(report: Mapping[str, Any]) -> dict[str, str]:
    """Versions by normalized names, from the output of ``pip install --dry-run --report``."""
    found = {}
    for entry in report['install']:
        name = re.sub(r'[-_.]+', '-', entry['metadata']['name']).lower()
        # A build without CUDA is '2.10.0+cpu'; a constraint on 2.10.0 takes either.
        found[name] = entry['metadata']['version'].partition('+')[0]
    return found


def pinned_versions(text: str) -> dict[str, str]:
    return dict(re.findall(r'^([\w.-]+)==(\S+)$', text, re.MULTILINE))


def rewrite(text: str, versions: Mapping[str, str]) -> str:
    """The constraints with other versions, below the comments that they begin with."""
    comments = re.match(r'(?:#.*\n)*', text)[0]
    return comments + ''.join(f'{name}=={versions[name]}\n' for name in sorted(versions))


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [
        f'{name} {old.get(name, "(none)")} -> {new.get(name, "(none)")}'
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('report', type=Path, help='what pip install --report has written')
    parser.add_argument('constraints', type=Path, help='the file to rewrite')
    args = parser.parse_args(argv)
    text = args.constraints.read_text()
    versions = resolved_versions(json.loads(args.report.read_text()))
    args.constraints.write_text(rewrite(text, versions))
    print(f'{args.constraints}:', *changes(pinned_versions(text), versions), sep='\n  ')


if __name__ == '__main__':
    main()
