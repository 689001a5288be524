"""Every shell and Python block of the README and the pages runs as it stands.

The blocks of a page run one after another in a folder that has ``images/``, with class folders in
``train/`` and ``val/``, and the ``tools/`` and ``configs/`` of the checkout. Epochs end after two
steps, and long runs are shortened by :data:`SHORTER`. A block that cannot run here follows a
comment with the reason: ``<!-- not run: ... -->``.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.forked_shell import forked_shell
from tests.helpers.images import class_names, write_images

ROOT = Path(__file__).parents[1]
#: What stands in the pages, and what is run instead.
SHORTER = {f'epochs{sign}{count}': f'epochs{sign}1' for sign in ' =' for count in (20, 30, 10)}
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
_BLOCK = re.compile(
    r'(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<kind>shell|python)\n(?P<text>.*?)^```$',
    re.DOTALL | re.MULTILINE,
)


def runnable_blocks(page: Path) -> list[tuple[str, str]]:
    """Kinds and texts of the blocks of a page that run here."""
    blocks = _BLOCK.finditer(page.read_text())
    return [(block['kind'], block['text']) for block in blocks if not block['reason']]


RUNNABLE = [page for page in PAGES if runnable_blocks(page)]


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    with forked_shell(tmp_path_factory.mktemp('bin')) as variables:
        yield {**variables, 'HVS_MM_STEPS_PER_EPOCH': '2', 'PYTHONPATH': str(ROOT)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_images(tmp_path / 'images' / 'train', class_names(['cat', 'dog'], 40))
    write_images(tmp_path / 'images' / 'val', class_names(['cat', 'dog'], 8))
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_block(kind: str, text: str, environment: Mapping[str, str]) -> None:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    command = ['bash', '-euo', 'pipefail', '-c', text]
    if kind == 'python':
        # A block that begins like a config is one.
        is_config = text.startswith('_base_')
        Path('block.py').write_text(text)
        code = 'from mmengine.config import Config; Config.fromfile("block.py")'
        command = ['bash', '-c', f"python -c '{code}'" if is_config else 'python block.py']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f'{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}'


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('page', RUNNABLE, ids=lambda page: page.stem)
def test_blocks_run(page, folder, environment):
    for kind, text in runnable_blocks(page):
        run_block(kind, text, environment)


def test_a_method_from_nothing_is_short():
    (kind, text), *_ = runnable_blocks(ROOT / 'docs' / 'extend.md')
    assert (kind, 'BaseSelfSupervisor' in text) == ('python', True)
    assert len(text.splitlines()) < 60


def test_which_blocks_run(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        '```\noutput\n```\n\n```shell\nfalse\n```\n'
        '<!-- not run: needs a GPU -->\n```shell\nx\n```\n```python\nprint()\n```\n'
    )
    assert runnable_blocks(page) == [('shell', 'false\n'), ('python', 'print()\n')]


@pytest.mark.slow
def test_a_block_that_fails_is_seen(folder, environment):
    run_block('shell', 'ls images tools/train.py | cat\n', environment)
    with pytest.raises(AssertionError, match='there is no such folder'):
        run_block('shell', 'hvs-mm train --data nowhere --out run\n', environment)
    with pytest.raises(AssertionError, match='ZeroDivisionError'):
        run_block('python', '1 / 0\n', environment)


# --- Notebooks --------------------------------------------------------------------------------

NOTEBOOKS = sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, folder, environment):
    """All cells in order, in one process."""
    cells = json.loads(path.read_text())['cells']
    code = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
    run_block('python', '\n\n'.join(code), {**environment, 'MPLBACKEND': 'Agg'})


def test_notebooks_hold_no_output():
    """Pictures and paths of one machine would only make them large."""
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())['cells']:
            assert not cell.get('outputs'), path.name
