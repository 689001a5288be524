"""A study file: the runs to compare and how they are evaluated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

from mmengine.config import Config

from hvs_mm.evaluation import KNNSettings

from .schema import NAME, NUMBER, OPTIONS, TEXT, Kind, StudyError, check, expect, one_of, whole

#: What trains: MMEngine's Runner, or :mod:`hvs_study.fast`.
ENGINES = ('runner', 'fast')
#: The config of a method that is trained up to a fork.
TRUNK = 'baseline'
_CONFIG = Kind(TEXT.fits, 'the path of a config; a method has these and cfg_options, nothing else')
_ARM = {'config': TEXT, 'cfg_options?': OPTIONS, 'candidates?': [whole(1)]}
_ARM |= {'per_method?': {TEXT: OPTIONS}}
_SEED = whole(0, 2**32 - 1)
_STRENGTH = Kind(lambda value: NUMBER.fits(value) and 0 < value < inf, 'a positive number, as 1.0')
_KNN = {f'{name}?': Kind(lambda value: True, '') for name in KNNSettings.__dataclass_fields__}
_KNN |= {'k?': whole(1), 'interval?': whole(1), 'temperature?': NUMBER, 'batch_size?': NUMBER}
_IMAGES = Kind(
    lambda value: bool(value) and isinstance(value, (str, dict)),
    'a folder of class folders, or the config of a data set',
)
_TRANSFER = {'bank': _IMAGES, 'queries': _IMAGES, 'C?': _STRENGTH}
_STUDY = {
    'name': NAME,
    'methods': {NAME: {'cfg_options?': OPTIONS, TEXT: _CONFIG}},
    'arms': {NAME: _ARM},
    'cfg_options?': OPTIONS,
    'runs': [
        {
            'methods?': [TEXT],
            'arms?': [TEXT],
            'forks?': [whole(1)],
            'epochs': [whole(1)],
            'seeds': [_SEED],
        }
    ],
    'engine?': one_of(ENGINES),
    'evaluation?': {
        'knn?': _KNN,
        'linear?': {'C?': _STRENGTH},
        'transfer?': {NAME: _TRANSFER},
    },
    'threads?': whole(1),
}


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study; the seed decides weights, order of the images, and views.

    It starts from the baseline after ``fork`` epochs, and trains for ``epochs`` more.
    """

    method: str
    arm: str
    epochs: int
    seed: int
    fork: int = 0

    @property
    def id(self) -> str:
        """The name of the run in results and on the command line."""
        fork = f'-f{self.fork}' if self.fork else ''
        return f'{self.method}-{self.arm}{fork}-e{self.epochs}-s{self.seed}'


@dataclass(frozen=True)
class Transfer:
    """Other images that the linear classifier of features is trained and tested on.

    Attributes:
        bank, queries: Images to train on and to classify, as in ``KNNSettings``.
        linear_c: Inverse regularization strength.
    """

    bank: Any
    queries: Any
    linear_c: float


@dataclass(frozen=True)
class Study:
    """A study, with the settings of its file checked and its configs found.

    Attributes:
        methods: For each method, config paths by name, and ``cfg_options``.
        arms: For each arm, ``config``, and maybe ``cfg_options``, ``candidates``, ``per_method``.
        options: Overrides for all runs, by dotted keys.
        runs: All runs, those of the first seed first.
        threads: Threads of each run.
        knn: Settings of the k-NN classifier, with a single k.
        interval: Epochs from one k-NN evaluation to the next.
        linear_c: Inverse regularization strength of the linear classifier.
        engine: What trains, one of :data:`ENGINES`.
        plan: SHA-256, in hexadecimal, of the settings in the file.
        transfer: Other images to evaluate on, by name.
    """

    path: str
    name: str
    methods: dict[str, dict[str, Any]]
    arms: dict[str, dict[str, Any]]
    options: dict[str, Any]
    runs: list[PlannedRun]
    threads: int
    knn: KNNSettings
    interval: int
    linear_c: float
    engine: str = 'runner'
    plan: str = ''
    transfer: dict[str, Transfer] = field(default_factory=dict)


def read_study(path: str, root: str | Path = '') -> Study:
    """Read a study file: Python, as MMEngine reads configs.

    Configs are looked for in the current folder, then in ``root``.

    Raises:
        FileNotFoundError: If the file does not exist.
        StudyError: If a setting is missing, unknown or out of range.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'study {path!r} does not exist.')
    try:
        return _parse(path, Config.fromfile(path).to_dict(), [Path(), Path(root)])
    except SyntaxError as error:
        raise StudyError(f'{path}: line {error.lineno}: {error.msg}') from error
    except StudyError as error:
        raise StudyError(f'{path}: {error}') from error


def _parse(path: str, settings: dict[str, Any], folders: list[Path]) -> Study:
    # A name with an underscore in front only helps to write the file.
    settings = {key: value for key, value in settings.items() if not key.startswith('_')}
    check('', settings, _STUDY)
    # Before the paths of configs become those of this machine.
    plan = hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode()).hexdigest()
    methods, arms = settings['methods'], settings['arms']
    for key in ('methods', 'arms'):
        expect(settings[key], f'{key}={{}}: expected at least one name.')
    for name, method in methods.items():
        for key in method.keys() - {'cfg_options'}:
            method[key] = _find(f'methods.{name}.{key}', method[key], folders)
    configs = one_of(sorted({key for method in methods.values() for key in method}))
    for name, arm in arms.items():
        check(f'arms.{name}.config', arm['config'], configs)
        for method in arm.get('per_method', {}):
            check(f'arms.{name}.per_method', method, one_of(methods))
    evaluation = settings.get('evaluation', {})
    knn = {'k': 20, 'interval': 1, 'num_workers': 0, **evaluation.get('knn', {})}
    interval = knn.pop('interval')
    try:
        knn = KNNSettings(**knn)
    except (TypeError, ValueError) as error:
        raise StudyError(f'evaluation.knn: {error}') from error
    linear_c = float(evaluation.get('linear', {}).get('C', 1.0))
    transfer = {
        name: Transfer(one['bank'], one['queries'], float(one.get('C', linear_c)))
        for name, one in evaluation.get('transfer', {}).items()
    }
    return Study(
        path=path,
        name=settings['name'],
        methods=methods,
        arms=arms,
        options=settings.get('cfg_options', {}),
        runs=_runs(settings['runs'], methods, arms, settings.get('engine', 'runner')),
        threads=settings.get('threads', 1),
        knn=knn,
        interval=interval,
        linear_c=linear_c,
        engine=settings.get('engine', 'runner'),
        plan=plan,
        transfer=transfer,
    )


def _find(where: str, config: str, folders: list[Path]) -> str:
    places = [folder.absolute() / config for folder in folders]
    looked = ' and '.join(str(folder.absolute()) for folder in folders)
    found = [str(place) for place in places if place.is_file()]
    expect(found, f'{where}={config!r}: there is no such file, looked in {looked}.')
    return found[0]


def _runs(
    settings: list[dict[str, Any]], methods: dict[str, Any], arms: dict[str, Any], engine: str
) -> list[PlannedRun]:
    # A run that is named twice is made once.
    found: dict[PlannedRun, None] = {}
    for number, one in enumerate(settings):
        one = {'methods': list(methods), 'arms': list(arms), 'forks': [0], **one}
        expect(
            engine == 'fast' or one['forks'] == [0],
            f"runs.{number}.forks={one['forks']}: only engine='fast' starts runs from others.",
        )
        check(f'runs.{number}.methods', one['methods'], [one_of(methods)])
        check(f'runs.{number}.arms', one['arms'], [one_of(arms)])
        for method, arm in product(one['methods'], one['arms']):
            config = arms[arm]['config']
            expect(
                config in methods[method],
                f'runs.{number}: arm {arm!r} takes config={config!r}, which method {method!r} '
                'does not have: name it there, or leave one of them out here.',
            )
            expect(
                one['forks'] == [0] or TRUNK in methods[method],
                f'runs.{number}: forks start from the config {TRUNK!r}, which method {method!r} '
                'does not have: name it there.',
            )
        names = ('seeds', 'forks', 'methods', 'arms', 'epochs')
        for seed, fork, *others in product(*(one[name] for name in names)):
            found[PlannedRun(*others, seed, fork)] = None
    # A study that is stopped early has all arms of its first seeds.
    return sorted(found, key=lambda run: run.seed)
