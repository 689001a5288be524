"""Contents of the wheel and the sdist; an installed package finds its configs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import modelindex
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    'LICENSE',
    'MANIFEST.in',
    'README.md',
    'configs',
    'hvs_mm',
    'model-index.yml',
    'pyproject.toml',
    'requirements',
    'setup.py',
    'tools',
)
MM_PACKAGE = re.compile(r'(onedl|openmim|mm(cv|engine|pretrain|det|cls|selfsup))', re.IGNORECASE)
# Offline, without build isolation: what is needed stands in requirements/tests.txt.
PIP_OPTIONS = ('-q', '--disable-pip-version-check', '--no-index', '--no-deps')

# What a user does after `pip install`, in a process that knows nothing of the checkout.
USE_INSTALLED = """
import json
import hvs_mm
configs = [hvs_mm.apis.get_config(f'hvs_mm::{name}') for name in %r]
print(json.dumps({
    'package': hvs_mm.__file__,
    'configs': [config.filename for config in configs],
    'types': [config.model.type for config in configs],
}))
"""


def run(*command: object, **kwargs) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **kwargs
    )
    assert result.returncode == 0, f'{command}:\n{result.stdout}\n{result.stderr}'
    return result.stdout


def copy_sources(target: Path) -> Path:
    """Copy the tree, so that neither builds nor links touch the checkout."""
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    target.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        elif source.is_file():
            shutil.copy2(source, target / name)
    return target


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


def build_wheel(source: Path, target: Path) -> Path:
    run(
        sys.executable, '-m', 'pip', 'wheel', *PIP_OPTIONS, '--no-build-isolation',
        '--wheel-dir', target, source,
    )  # fmt: skip
    (wheel,) = target.glob('*.whl')
    return wheel


@pytest.fixture(scope='module')
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_sources(tmp_path_factory.mktemp('tree') / 'hvs-mm')


@pytest.fixture(scope='module')
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tree, tmp_path_factory.mktemp('wheel'))


@pytest.fixture(scope='module')
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('sdist')
    code = f'from setuptools import build_meta; build_meta.build_sdist({str(target)!r})'
    run(sys.executable, '-c', code, cwd=tree)
    (archive,) = target.glob('*.tar.gz')
    return archive


def test_wheel_has_copies_of_what_mim_reads(wheel: Path, tree: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    mim = {name.removeprefix('hvs_mm/.mim/') for name in names if name.startswith('hvs_mm/.mim/')}
    wanted = {'model-index.yml'}
    for folder in ('configs', 'tools'):
        wanted |= {f'{folder}/{name}' for name in files_below(tree / folder)}
    assert mim == wanted
    # Everything that is not below the package's own mim folder, data files included.
    own = {f'hvs_mm/{name}' for name in files_below(tree / 'hvs_mm')}
    assert {'hvs_mm/reports/selection_report.html.j2', 'hvs_mm/py.typed'} <= own
    assert own <= names
    assert not [name for name in names if name.startswith(('tests/', 'configs/', 'tools/'))]


def test_wheel_build_leaves_no_links_in_the_sources(wheel: Path, tree: Path) -> None:
    assert not (tree / 'hvs_mm' / '.mim').exists()


def test_wheel_requires_mm_packages_only_in_extras(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith('.dist-info/METADATA')]
    metadata = Parser().parsestr(archive.read(name).decode())
    requirements = metadata.get_all('Requires-Dist')
    assert metadata['Name'] == 'hvs-mm'
    assert metadata['Requires-Python'] == '>=3.10'
    plain = [text for text in requirements if 'extra ==' not in text]
    assert plain
    assert not [text for text in plain if MM_PACKAGE.match(text)]
    assert not [text for text in plain if text.startswith(('kornia', 'scikit-learn'))]
    for extra, package in (
        ('onedl', 'onedl-mmpretrain'),
        ('openmmlab', 'mmpretrain'),
        ('device', 'kornia'),
        ('all', 'kornia'),
    ):
        found = [text for text in requirements if re.search(rf'extra == ["\']{extra}["\']', text)]
        assert any(text.startswith(package) for text in found)


def test_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tree: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    for folder in ('configs', 'tools', 'requirements'):
        assert {f'{folder}/{name}' for name in files_below(tree / folder)} <= names
    assert {'LICENSE', 'setup.py', 'pyproject.toml', 'model-index.yml'} <= names
    assert not [name for name in names if '.mim' in name]

    rebuilt = zipfile.ZipFile(build_wheel(sdist, tmp_path))
    original = zipfile.ZipFile(wheel)
    assert sorted(rebuilt.namelist()) == sorted(original.namelist())
    for name in original.namelist():
        if not name.endswith('/RECORD'):
            assert rebuilt.read(name) == original.read(name), name


# The environment of the tests has an editable installation of its own.
@pytest.mark.parametrize('mode', ['wheel', pytest.param('editable', marks=pytest.mark.slow)])
def test_installed_package_finds_its_configs(mode: str, wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / 'venv'
    run(sys.executable, '-m', 'venv', '--without-pip', venv)
    python = venv / 'bin' / 'python'
    site_packages = next((venv / 'lib').glob('python3.*/site-packages'))
    # torch and the MM* packages come from this environment. As a plain path, so that its own
    # link to the checkout, a .pth file, is not followed.
    (site_packages / 'parent.pth').write_text(sysconfig.get_path('purelib') + '\n')
    if mode == 'wheel':
        what, expected = (wheel,), site_packages / 'hvs_mm'
    else:
        source = copy_sources(tmp_path / 'source')
        what, expected = ('--no-build-isolation', '-e', source), source / 'hvs_mm'
    run(sys.executable, '-m', 'pip', '--python', python, 'install', *PIP_OPTIONS, *what)

    for name in ('configs', 'tools', 'model-index.yml'):
        entry = expected / '.mim' / name
        assert entry.exists()
        assert entry.is_symlink() == (mode == 'editable')
        if mode == 'editable':
            assert not os.path.isabs(os.readlink(entry))

    configs = sorted(path.name for path in (ROOT / 'configs').glob('hvs_*.py'))
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    output = run(python, '-c', USE_INSTALLED % (configs,), cwd=tmp_path, env=environment)
    found = json.loads(output.splitlines()[-1])
    assert found['package'] == str(expected / '__init__.py')
    assert found['configs'] == [str(expected / '.mim' / 'configs' / name) for name in configs]
    assert set(found['types']) == {'HVSAlgorithm'}


def test_every_config_stands_in_one_metafile() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    listed = []
    for metafile in index['Import']:
        content = yaml.safe_load((ROOT / metafile).read_text())
        collections = {collection['Name'] for collection in content['Collections']}
        for model in content['Models']:
            assert model['In Collection'] in collections
            assert Path(model['Config']).stem == model['Name']
            listed.append(model['Config'])
    configs = [f'configs/{path.name}' for path in (ROOT / 'configs').glob('hvs_*.py')]
    assert sorted(listed) == sorted(configs)


def test_no_number_of_others_passes_for_ours() -> None:
    published = []
    for path in sorted((ROOT / 'configs' / 'metafiles').glob('*.yml')):
        for model in yaml.safe_load(path.read_text())['Models']:
            # mim shows these as results and checkpoints of this project, which has none.
            assert not {'Results', 'Weights', 'Training Log'} & set(model), model['Name']
            found = model['Metadata'].get('Published Elsewhere')
            if found is not None:
                assert 'not by this project' in found['By']
                assert found['Source'].startswith('https://arxiv.org/abs/')
                published.append((model['Name'], found['Baseline'], found['With Hard Views']))
    # The numbers of docs/results.md, which names them as the authors', too.
    assert published == [
        ('hvs_dino_vit-base_400e', 78.2, 78.8),
        ('hvs_simsiam_100e', 68.2, 68.98),
        ('hvs_simsiam_200e', 69.76, 70.47),
    ]


def test_model_index_is_readable_by_mim() -> None:
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    assert [model.name for model in index.models]
    for model in index.models:
        assert model.full_model.paper['URL'].startswith('https://arxiv.org/abs/')


def test_constraints_pin_every_requirement() -> None:
    def names(path: Path) -> list[str]:
        lines = path.read_text().splitlines()
        return [
            re.split(r'[<>=~! ]', line)[0].lower()
            for line in lines
            if line.strip() and not line.startswith('#')
        ]

    requirements = ROOT / 'requirements'
    for stack, packages in (('onedl', ('mminstall', 'mim')), ('openmmlab', ('openmmlab',))):
        pinned = names(requirements / f'constraints-{stack}.txt')
        for name in ('runtime', 'tests', 'trackers', *packages):
            assert set(names(requirements / f'{name}.txt')) <= set(pinned), (stack, name)
