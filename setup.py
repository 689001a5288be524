"""Metadata, and the ``.mim`` folder that mim and ``mmengine.hub`` read configs from."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = 'hvs_mm'
# What OpenMMLab's tools expect below `<package>/.mim`.
MIM_FILES = ('configs', 'tools', 'model-index.yml')
IGNORED = shutil.ignore_patterns('__pycache__', '*.py[co]', '.*')


def read_version() -> str:
    """Return the version without importing the package, which would need torch."""
    text = (ROOT / PACKAGE / 'version.py').read_text(encoding='utf-8')
    match = re.search(r"""^__version__\s*(?::\s*\w+\s*)?=\s*['"]([^'"]+)['"]""", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f'{PACKAGE}/version.py does not set __version__ to a string')
    return match.group(1)


def read_requirements(name: str) -> list[str]:
    """Return the requirement lines of ``requirements/<name>.txt`` without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith('#')]


class BuildPyWithMim(build_py):
    """Put configs, tools and the model index below ``hvs_mm/.mim``.

    A wheel gets copies, written to the build folder only, so that a build leaves no files in the
    source tree. An editable install gets links in the source tree: an edited config is seen at
    once.
    """

    # setuptools sets this; the default keeps a plain `setup.py build` working.
    editable_mode = False

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            self.link_mim_files(ROOT / PACKAGE / '.mim')
        else:
            self.copy_mim_files(Path(self.build_lib) / PACKAGE / '.mim')

    def copy_mim_files(self, target: Path) -> None:
        # A `build` folder left by an earlier version must not bring back deleted configs.
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in MIM_FILES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=IGNORED)
            else:
                shutil.copy2(source, target / name)

    def link_mim_files(self, target: Path) -> None:
        target.mkdir(exist_ok=True)
        for name in MIM_FILES:
            link = target / name
            if link.is_symlink() or link.is_file():
                link.unlink()
            elif link.is_dir():
                shutil.rmtree(link)
            # Relative, so that a checkout can be moved or mounted elsewhere.
            link.symlink_to(
                os.path.relpath(ROOT / name, target), target_is_directory=(ROOT / name).is_dir()
            )

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = list(super().get_outputs(include_bytecode))
        if not self.editable_mode:
            target = Path(self.build_lib) / PACKAGE / '.mim'
            outputs += [str(path) for path in sorted(target.rglob('*')) if path.is_file()]
        return outputs


extras = {
    # The names of both stacks stand in extras only: a plain install takes the MM* packages that
    # are there.
    'mim': read_requirements('mim') + read_requirements('mminstall'),
    'onedl': read_requirements('mminstall'),
    'openmmlab': read_requirements('openmmlab'),
    'detection': read_requirements('mminstall') + read_requirements('detection'),
    'analysis': read_requirements('analysis'),
    'device': read_requirements('device'),
    'export': read_requirements('export'),
    'shards': read_requirements('shards'),
    'tiff': read_requirements('tiff'),
    'tests': read_requirements('tests'),
}
# `openmmlab` excludes the others, so `all` means the default stack.
extras['all'] = sorted(
    {
        *extras['mim'],
        *extras['detection'],
        *extras['analysis'],
        *extras['device'],
        *extras['export'],
        *extras['shards'],
        *extras['tiff'],
        *extras['tests'],
    }
)

readme = ROOT / 'README.md'

setup(
    name='hvs-mm',
    version=read_version(),
    description='Hard view selection for self-supervised pretraining with MMPretrain',
    long_description=readme.read_text(encoding='utf-8') if readme.is_file() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='self-supervised learning, hard view selection, MMPretrain, computer vision',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*', 'hvs_mm_cli']),
    entry_points={'console_scripts': ['hvs-mm = hvs_mm_cli.main:main']},
    package_data={PACKAGE: ['py.typed'], f'{PACKAGE}.reports': ['*.j2']},
    python_requires='>=3.10',
    install_requires=read_requirements('runtime'),
    extras_require=extras,
    cmdclass={'build_py': BuildPyWithMim},
    zip_safe=False,
)
