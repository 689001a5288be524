"""What ``make release`` refuses to release."""

from __future__ import annotations

import tarfile

import pytest

from tests.helpers.tools import ROOT, load_tool

WHEEL = {
    'hvs_mm/__init__.py': b'"""Ours."""',
    'hvs_mm/.mim/model-index.yml': b'',
    'hvs_mm/.mim/configs/hvs_simsiam_100e.py': b'',
    'hvs_mm/.mim/tools/train.py': b'',
    'hvs_mm_cli/main.py': b'',
    'hvs_mm-0.2.0.dist-info/licenses/LICENSE': b'Apache',
    'hvs_mm-0.2.0.dist-info/entry_points.txt': b'',
}


@pytest.fixture(scope='module')
def release():
    return load_tool('dev/release')


def test_a_good_wheel_has_no_problems(release) -> None:
    assert release.content_problems(WHEEL) == release.wheel_problems(WHEEL, b'Apache') == []


# What is looked for stands in two parts: the check reads this file, too.
@pytest.mark.parametrize(
    ('name', 'content', 'problem'),
    [
        ('hvs_mm/weights.pth', b'', 'ORIGINS does not say'),
        ('hvs_mm/large.py', b'#' * 1_000_001, '1,000,001 bytes'),
        ('hvs_mm/loss.py', b'# Copyright ' + b'(c) Somebody.', 'a license or copyright of its own'),
        (
            'hvs_mm/loss.py',
            b'# SPDX-' + b'License-Identifier: MIT',
            'a license or copyright of its own',
        ),
    ],
)
def test_what_must_not_be_inside(name, content, problem, release) -> None:
    (found,) = release.content_problems({**WHEEL, name: content})
    assert found.startswith(name)
    assert problem in found


def test_a_wheel_that_lacks_something(release) -> None:
    assert release.wheel_problems(WHEEL, b'MIT') == ['the wheel has no LICENSE']
    assert 'tests' in release.wheel_problems({**WHEEL, 'tests/a.py': b''}, b'Apache')[0]
    del (files := dict(WHEEL))['hvs_mm/.mim/tools/train.py']
    assert release.wheel_problems(files, b'Apache') == [
        'the wheel has no hvs_mm/.mim/tools/train.py'
    ]


def test_an_sdist_is_the_checkout(release, tmp_path) -> None:
    for name in ('PKG-INFO', 'setup.py', 'notes.txt', 'hvs_mm.egg-info/SOURCES.txt'):
        (tmp_path / 'x-1' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'x-1' / name).write_text(name)
    with tarfile.open(tmp_path / 'x.tar.gz', 'w:gz') as archive:
        archive.add(tmp_path / 'x-1', 'x-1')
    files = release.read_sdist(tmp_path / 'x.tar.gz')
    assert files['setup.py'] == b'setup.py'
    assert release.sdist_problems(files, {'setup.py', '.gitignore', 'examples/a.py'}) == [
        'the sdist has notes.txt, which git does not track',
        'the sdist has no examples/a.py',
    ]


def test_versions_agree(release, tmp_path) -> None:
    from hvs_mm import __version__

    assert release.version_problems(__version__, ROOT) == []
    (tmp_path / 'CHANGELOG.md').write_text('## 0.3.0 - unreleased\n')
    (tmp_path / 'CITATION.cff').write_text('version: 0.2.0\n')
    assert release.version_problems('0.3.0', tmp_path) == ['CITATION.cff has not version: 0.3.0']
