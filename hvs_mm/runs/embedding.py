"""Features of a folder of images as arrays, or in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.shards.addresses import TarAddresses
from ..recipes import find_images
from ..recipes.images import walk_images
from ..utils.atomic_write import atomic_write
from ..utils.bad_images import BadImage
from .image_features import image_features, progress_bar
from .output import prepare_output
from .run_folder import open_run

#: Kinds of files that features are written to.
FORMATS = ('.npz', '.parquet')


@dataclass(frozen=True, eq=False)
class Embedding:
    """Features of images.

    Attributes:
        features: (N, D) float32.
        files: N paths, relative to the folder (or the folder of the list) that was asked for; in
            shards, e.g. ``'shards-000.tar!/cat/17.jpg'`` or the row.
        labels: (N,) int64 positions in ``classes``, -1 for an image in no class folder; None
            without class folders.
        classes: Names of the class folders.
        skipped: Broken images that were left out, with the reasons.
    """

    features: np.ndarray
    files: list[str]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    skipped: list[BadImage] = field(default_factory=list)

    def save(self, path: str | os.PathLike) -> None:
        """Write a ``.npz`` or ``.parquet`` file. If that fails, an older file stays.

        A ``.npz`` holds ``features``, ``files`` and, with labels, ``labels`` and ``classes``. A
        ``.parquet`` has the columns ``file``, ``feature`` (a list of D floats) and, with labels,
        ``label`` and ``class``, both null for an image in no class folder.
        """
        with atomic_write(path) as unfinished:
            if Path(path).suffix == '.parquet':
                self._write_parquet(unfinished)
            else:
                arrays: dict[str, Any] = {'features': self.features, 'files': np.array(self.files)}
                if self.labels is not None:
                    arrays |= {'labels': self.labels, 'classes': np.array(self.classes)}
                # By its name NumPy would add an extension.
                with unfinished.open('wb') as file:
                    np.savez(file, **arrays)

    def _write_parquet(self, path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        width = self.features.shape[1]
        values = pa.array(self.features.reshape(-1), pa.float32())
        # Names of files are bytes, which need not be text.
        names = [os.fsencode(name).decode('utf-8', 'backslashreplace') for name in self.files]
        columns = {'file': names, 'feature': pa.FixedSizeListArray.from_arrays(values, width)}
        if self.labels is not None:
            labels = [None if label < 0 else label for label in self.labels.tolist()]
            columns['label'] = pa.array(labels, pa.int64())
            columns['class'] = pa.array(
                [None if label is None else self.classes[label] for label in labels], pa.string()
            )
        parquet.write_table(pa.table(columns), path)


def embed(
    run: str | os.PathLike,
    data: str | os.PathLike,
    out: str | os.PathLike | None = None,
    *,
    network: str | None = None,
    batch_size: int = 128,
    num_workers: int | None = None,
    device: str | None = None,
    force: bool = False,
    trust: bool = False,
) -> Embedding:
    """Compute the features of all images of a folder.

    Args:
        run: Folder of a run, or a checkpoint in it.
        data: Folder of images, flat, nested or in class folders, with or without ``train`` and
            ``val``, all of which are taken; a text file with a path a line; or shards, of which
            those to train on are taken, as for :func:`hvs_mm.train`.
        out: File to write, ``.npz`` or ``.parquet`` (needs pyarrow).
        network: ``'teacher'`` or ``'student'`` of DINO and iBOT; the teacher by default.
        batch_size: Images that go forward together.
        num_workers: Processes that read images; by default one less than there are cores.
        device: E.g. ``'cpu'`` or ``'cuda:1'``; a GPU by default if there is one.
        force: Overwrite the file.
        trust: Read checkpoints even if they hold objects that can run code.

    Raises:
        FileExistsError: If the file is there already.
        FileNotFoundError: If the run, its checkpoint or the images are missing.
        ImportError: If a ``.parquet`` file is asked for and pyarrow is missing.
        ValueError: If a setting is out of range, or no image can be read.

    Examples:
        >>> embed('runs/first', 'images/').features.shape
        (364, 512)
    """
    if out is not None:
        _check_format(Path(out))
        out = prepare_output(out, force)
    root, paths, labels, classes = _list_images(data)
    trained = open_run(run, network, device, trust)
    with progress_bar() as progress:
        features, positions, broken = image_features(
            trained, root, paths, progress, batch_size=batch_size, num_workers=num_workers
        )
    files = [paths[position] for position in positions]
    if isinstance(paths, TarAddresses):
        # Without the bytes.
        files = [name.rpartition('?')[0] for name in files]
    labels = None if labels is None else labels[positions]
    embedding = Embedding(features, files, labels, classes, broken)
    if out is not None:
        embedding.save(out)
    return embedding


def _check_format(out: Path) -> None:
    if out.suffix not in FORMATS:
        raise ValueError(f'--out {str(out)!r}: its name must end in {" or ".join(FORMATS)}.')
    if out.suffix == '.parquet' and find_spec('pyarrow') is None:
        raise ImportError(
            f'--out {str(out)!r} needs pyarrow: pip install "hvs-mm[export]", or name a .npz file.'
        )


def _list_images(
    data: str | os.PathLike,
) -> tuple[Path | str, Sequence[str], np.ndarray | None, tuple[str, ...]]:
    """All images of a folder: its path, theirs below it, labels and names of classes."""
    images = find_images(data)
    if not images.prefix:
        labels = images.labels if images.classes else None
        return images.root, images.paths, labels, images.classes
    # train/ and what lies next to it, e.g. train/cat/1.jpg.
    root = Path(images.root).parent
    paths = sorted(walk_images(str(root)))
    if not images.classes:
        return root, paths, None, ()
    numbers = {name: number for number, name in enumerate(images.classes)}
    parts = [path.split('/') for path in paths]
    found = [numbers.get(part[1], -1) if len(part) > 2 else -1 for part in parts]
    return root, paths, np.array(found, np.int64), images.classes
