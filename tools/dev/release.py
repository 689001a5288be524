"""Check the wheel and the sdist in a folder before a release: `make release` calls it."""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Whose the files are that are not ours, or not text. Everything else is Apache-2.0, see LICENSE.
ORIGINS = {
    'docs/images/selection.png': 'our run; two photographs under CC BY 2.0, credited in README.md',
    'docs/images/': 'our runs',
    'tests/test_published/data/': 'numbers that published code computed, no code of it',
    'tests/data/': 'our runs, and results of MMCV operators',
}
#: What a package holds that runs or is read as text.
TEXT = ('.cff', '.cfg', '.css', '.in', '.ipynb', '.j2', '.js', '.jsonl', '.md', '.py', '.sh',
        '.svg', '.toml', '.txt', '.yml')  # fmt: skip
TEXT_NAMES = ('LICENSE', 'METADATA', 'Makefile', 'PKG-INFO', 'RECORD', 'WHEEL', 'Dockerfile',
              'py.typed')  # fmt: skip
_LARGEST = 1_000_000
_FOREIGN = re.compile(rb'copyright +(\(c\)|\d)|SPDX-Licen[s]e|licensed +under', re.IGNORECASE)


def read_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name[-1] != '/'}


def read_sdist(path: Path) -> dict[str, bytes]:
    """Files by their names below the one folder of the archive."""
    with tarfile.open(path) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        texts = {one.name.partition('/')[2]: archive.extractfile(one).read() for one in files}
    # What setuptools writes about the package.
    return {name: text for name, text in texts.items() if '.egg-info/' not in name}


def origin(name: str) -> str | None:
    return next((text for prefix, text in ORIGINS.items() if name.startswith(prefix)), None)


def content_problems(files: Mapping[str, bytes]) -> list[str]:
    """What must not be in a package: large files, binaries of unknown origin, code of others."""
    problems = []
    for name, content in sorted(files.items()):
        base = name.rpartition('/')[2]
        if len(content) > _LARGEST:
            problems.append(f'{name} has {len(content):,} bytes, more than {_LARGEST:,}')
        if not (base.endswith(TEXT) or base in TEXT_NAMES or origin(name)):
            problems.append(f'{name} is no text, and ORIGINS does not say whose it is')
        if base.endswith(('.css', '.js', '.py', '.sh')) and _FOREIGN.search(content):
            problems.append(f'{name} names a license or copyright of its own')
    return problems


def wheel_problems(files: Mapping[str, bytes], license: bytes) -> list[str]:
    problems = []
    roots = {name.partition('/')[0] for name in files}
    info = next((root for root in roots if root.endswith('.dist-info')), '')
    if roots != {'hvs_mm', 'hvs_mm_cli', info}:
        problems.append(f'the wheel has {sorted(roots)}, expected hvs_mm, hvs_mm_cli, dist-info')
    if license not in (content for name, content in files.items() if name.startswith(info)):
        problems.append('the wheel has no LICENSE')
    needed = ('hvs_mm/.mim/model-index.yml', 'hvs_mm/.mim/configs/hvs_simsiam_100e.py',
              'hvs_mm/.mim/tools/train.py', f'{info}/entry_points.txt')  # fmt: skip
    return problems + [f'the wheel has no {name}' for name in needed if name not in files]


def sdist_problems(files: Mapping[str, bytes], tracked: set[str]) -> list[str]:
    """The sdist must have what a checkout has, and nothing that lies around there."""
    made = {'PKG-INFO', 'setup.cfg'}
    extra = set(files) - tracked - made
    dotfiles = {name for name in tracked if name.startswith('.')}
    missing = tracked - set(files) - dotfiles
    return [f'the sdist has {name}, which git does not track' for name in sorted(extra)] + [
        f'the sdist has no {name}' for name in sorted(missing)
    ]


def version_problems(version: str, root: Path) -> list[str]:
    changelog = (root / 'CHANGELOG.md').read_text()
    newest = re.search(r'^## (\S+) - (.+)$', changelog, re.MULTILINE)
    citation = re.search(r'^version: (\S+)$', (root / 'CITATION.cff').read_text(), re.MULTILINE)
    problems = []
    if newest is None or newest[1] != version:
        problems.append(f'CHANGELOG.md does not begin with {version}')
    if citation is None or citation[1] != version:
        problems.append(f'CITATION.cff has not version: {version}')
    return problems


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dist', type=Path, help='folder with one wheel and one sdist')
    parser.add_argument('--tracked', type=Path, required=True, help='the output of git ls-files')
    args = parser.parse_args(argv)
    (wheel,), (sdist,) = args.dist.glob('*.whl'), args.dist.glob('*.tar.gz')
    in_wheel, in_sdist = read_wheel(wheel), read_sdist(sdist)
    version = wheel.name.split('-')[1]
    problems = [
        *version_problems(version, ROOT),
        *content_problems(in_wheel),
        *content_problems(in_sdist),
        *wheel_problems(in_wheel, (ROOT / 'LICENSE').read_bytes()),
        *sdist_problems(in_sdist, set(args.tracked.read_text().split())),
    ]
    for path, files in ((wheel, in_wheel), (sdist, in_sdist)):
        print(
            f'{path.name}: {len(files)} files, {path.stat().st_size / 1e6:.1f} MB, Apache-2.0, and'
        )
        for prefix, text in ORIGINS.items():
            if any(name.startswith(prefix) for name in files):
                print(f'  {prefix}: {text}')
    if problems:
        sys.exit('\n'.join(f'error: {problem}.' for problem in problems))


if __name__ == '__main__':
    main()
