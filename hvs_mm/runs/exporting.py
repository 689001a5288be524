"""The backbone of a run for another library, with the code that loads it there."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..datasets.loading.image_kind import RGB
from ..evaluation.features import pool_features
from ..recipes.recipe import check_name
from ..utils.atomic_write import UNFINISHED, atomic_write
from ..utils.class_name import class_name
from ..version import __version__
from ..weights.checkpoint_files import check_output
from ..weights.hugging_face import image_processor, transformers_model
from ..weights.pretrained_backbone import PRETRAINING_ONLY
from ..weights.timm_torchvision import RenamedBackbone, rename_backbone
from .output import prepare_output
from .run_folder import TrainedRun, open_run

#: Libraries, each with the endings of the file names; a folder for none.
FORMATS = {
    'timm': ('.safetensors', '.pth'),
    'torchvision': ('.safetensors', '.pth'),
    'mmpretrain': ('.safetensors', '.pth'),
    'hf': (),
    'onnx': ('.onnx',),
}
_PACKAGES = {'hf': ('transformers',), 'onnx': ('onnx', 'onnxruntime')}
_OPSET = 17
#: Settings of our transformers that MMPretrain's does not have.
_OWN_SETTINGS = (
    *('pos_embed_offset', 'num_registers', 'ffn', 'drop_path', 'uniform_drop_path', 'cls_only'),
)
#: Largest difference of a feature, relative to the largest feature.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """A backbone that was written.

    Attributes:
        path: The file, or the folder of ``'hf'``.
        code: Python code that loads it, and computes ``features`` of ``images``.
        metadata: What also stands in the JSON file next to it: architecture, origin, and how
            images are prepared.
        difference: Largest difference to the features of the run, relative to the largest feature;
            None if the library is not there to try it.
        notes: Where the library computes other features, one sentence each.
    """

    path: Path
    code: str
    metadata: dict[str, Any]
    difference: float | None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """How a backbone is written to a path, and the code that then loads it from there."""

    write: Callable[[Path, dict[str, Any]], None]
    code: Callable[[Path], str]
    architecture: str
    notes: list[str] = field(default_factory=list)


def export(
    run: str | os.PathLike,
    format: str = 'timm',
    out: str | os.PathLike | None = None,
    *,
    network: str | None = None,
    force: bool = False,
    trust: bool = False,
) -> Exported:
    """Write the backbone of a run for another library.

    The result is loaded by the code that is returned, and its features are compared with those of
    the run. If they differ, nothing is left.

    Args:
        run: Folder of a run, or a checkpoint in it.
        format: ``'timm'``, ``'torchvision'``, ``'mmpretrain'``, ``'hf'`` (a folder for
            transformers) or ``'onnx'``, whose batch may have any size.
        out: File to write: ``.safetensors`` or ``.pth``, or ``.onnx``; a folder for ``'hf'``. By
            default ``backbone_<format>`` in the folder of the run.
        network: ``'teacher'`` or ``'student'`` of DINO and iBOT; the teacher by default.
        force: Overwrite files.
        trust: Read checkpoints even if they hold objects that can run code.

    Raises:
        FileExistsError: If the file is there already.
        FileNotFoundError: If the run or its checkpoint is missing.
        ImportError: If onnx or onnxruntime is missing for ``'onnx'``.
        OSError: If the file cannot be written.
        ValueError: If the format is unknown or has no such backbone.

    Examples:
        >>> print(export('runs/first', 'timm').code)
    """
    check_name('--format', format, FORMATS)
    missing = [name for name in _PACKAGES.get(format, ()) if find_spec(name) is None]
    if format == 'onnx' and missing:
        raise ImportError(
            f'--format onnx needs {" and ".join(missing)}: pip install "hvs-mm[export]".'
        )
    _check_ending(format, out)
    trained = open_run(run, network, 'cpu', trust)
    if out is None:
        part = '_student' if trained.network == 'student' else ''
        name = 'backbone' if format == 'onnx' else f'backbone_{format}'
        out = trained.folder / f'{name}{part}{next(iter(FORMATS[format]), "")}'
    path = prepare_output(out, force)
    beside = path.with_suffix('.json')
    if format != 'hf':
        check_output(beside, force)
    images, expected = _example(trained)
    plan = _plan(trained, format, expected)
    metadata = {
        'architecture': plan.architecture,
        'format': format,
        'features': expected.shape[1],
        'preprocessing': trained.preprocessing,
        'checkpoint': str(trained.checkpoint),
        'network': trained.network,
        'epoch': trained.epoch,
        'hvs_mm': __version__,
        'code': plan.code(path),
    }
    with _folder(path) if format == 'hf' else atomic_write(path) as unfinished:
        plan.write(unfinished, metadata)
        difference = None
        if format == 'onnx' or (not missing and find_spec(_module(format))):
            difference = _check(plan.code(unfinished), images, expected, format, plan.notes)
    if format != 'hf':
        with atomic_write(beside) as unfinished:
            unfinished.write_text(_json(metadata), encoding='utf-8')
    return Exported(path, plan.code(path), metadata, difference, plan.notes)


def _check_ending(format: str, out: str | os.PathLike | None) -> None:
    endings = FORMATS[format]
    if out is not None and endings and Path(out).suffix not in endings:
        raise ValueError(
            f'--out {str(out)!r}: the name of a file for {format} must end in '
            f'{" or ".join(endings)}.'
        )


def _module(format: str) -> str:
    return 'transformers' if format == 'hf' else format


def _example(run: TrainedRun) -> tuple[Tensor, Tensor]:
    """Normalized images (3, C, H, W) of random pixels, and their features (3, D)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, run.kind.channels, *run.preprocessing['size'], generator=generator)
    return images, run.features(images)


def _plan(run: TrainedRun, format: str, expected: Tensor) -> _Plan:
    if format == 'onnx':
        return _onnx(run)
    if format == 'mmpretrain':
        return _mmpretrain(run)
    state = run.backbone.state_dict()
    try:
        style = 'timm' if format == 'hf' else format
        backbone = rename_backbone(state, style, run.backbone_config)
        if format == 'hf':
            if run.kind != RGB:
                reason = f'its image processors take 8-bit RGB, your images have {run.kind}'
                raise ValueError(f'{reason}. Use --style timm.')
            return _hugging_face(run, backbone)
        if backbone.model is None:
            raise ValueError(
                f'{format} has no model for {backbone.architecture} and images of '
                f'{run.preprocessing["size"]} pixels. Use --style mmpretrain.'
            )
    except ValueError as error:
        text = str(error).replace('--style', '--format')
        raise ValueError(f'--format {format}: {text}') from error
    return _weights(backbone)


def _weights(backbone: RenamedBackbone) -> _Plan:
    changes = list(backbone.changes)
    if backbone.style == 'torchvision':
        head = 'fc' if 'layer1.0.conv1.weight' in backbone.weights else 'heads'
        changes.append(f'model.{head} = torch.nn.Identity()')
    lines = [f'model = {backbone.model}', *changes]

    def code(path: Path) -> str:
        needs_torch = changes or _is_pickle(path)
        imports = [*(['import torch'] if needs_torch else []), f'import {backbone.style}']
        return _code(path, sorted(imports), lines)

    return _Plan(
        partial(_write_weights, backbone.weights), code, backbone.architecture, backbone.notes
    )


def _mmpretrain(run: TrainedRun) -> _Plan:
    config = _plain(run.backbone_config)
    weights = dict(run.backbone.state_dict())
    imports = ['from mmpretrain.models import build_backbone']
    own = class_name(config) == 'DINOv2VisionTransformer'
    is_more = config.get('num_registers') or config.get('ffn') == 'swiglu'
    if class_name(config) == 'DINOv3VisionTransformer' or (own and is_more):
        imports.insert(0, 'import hvs_mm  # registers the backbone')
    elif own or class_name(config) in ('MaskedVisionTransformer', 'OffsetVisionTransformer'):
        weights = {k: v for k, v in weights.items() if k not in PRETRAINING_ONLY}
        # The offset concerns other sizes than the one that is exported for.
        config = {k: v for k, v in config.items() if k not in _OWN_SETTINGS}
        config |= {'type': 'VisionTransformer', 'out_type': 'cls_token'}
    norm = config.get('norm_cfg')
    if norm and class_name(norm) == 'SyncBN':
        config['norm_cfg'] = {**norm, 'type': 'BN'}
    output = run.backbone(torch.zeros(2, run.kind.channels, *run.preprocessing['size']))[-1].ndim
    pooled = {4: '.mean((2, 3))', 3: '[:, 0]', 2: ''}[output if 'out_type' not in config else 2]
    lines = [f'model = build_backbone({config!r})']

    def code(path: Path) -> str:
        torch_line = ['import torch'] if _is_pickle(path) else []
        return _code(path, [*torch_line, *imports], lines, f'model(images)[-1]{pooled}')

    architecture = f'{class_name(config)} {config.get("depth", config.get("arch", ""))}'.strip()
    return _Plan(partial(_write_weights, weights), code, architecture)


def _hugging_face(run: TrainedRun, backbone: RenamedBackbone) -> _Plan:
    config, weights = transformers_model(backbone)
    (name,) = config['architectures']

    def write(path: Path, metadata: dict[str, Any]) -> None:
        _write_weights(weights, path / 'model.safetensors', metadata)
        contents = {
            'config.json': config,
            'preprocessor_config.json': image_processor(run.preprocessing),
            'hvs_mm.json': metadata,
        }
        for file, content in contents.items():
            (path / file).write_text(_json(content), encoding='utf-8')

    def code(path: Path) -> str:
        is_vit = name == 'ViTModel'
        options = ', add_pooling_layer=False' if is_vit else ''
        output = 'last_hidden_state[:, 0]' if is_vit else 'pooler_output.flatten(1)'
        return (
            f'from transformers import {name}\n\n'
            f'model = {name}.from_pretrained({str(path)!r}{options})\n'
            f'model.eval()\n'
            f'features = model(images).{output}\n'
        )

    return _Plan(write, code, backbone.architecture, backbone.notes)


class _PooledBackbone(nn.Module):
    """Images (B, C, H, W) to features (B, D)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return pool_features(self.backbone(images))


def _onnx(run: TrainedRun) -> _Plan:
    def write(path: Path, metadata: dict[str, Any]) -> None:
        import onnx

        names, batch = ('images', 'features'), {0: 'batch'}
        # Of two images: sizes of 1 may be taken for constants.
        images = torch.zeros(2, run.kind.channels, *run.preprocessing['size'])
        module = _PooledBackbone(run.backbone)
        # Not chained: the `train` of MMPretrain's backbones returns nothing.
        module.eval()
        with warnings.catch_warnings():
            # Of the tracer: comparisons of sizes, which are the same for all batches.
            warnings.simplefilter('ignore')
            torch.onnx.export(
                module,
                (images,),
                str(path),
                input_names=names[:1],
                output_names=names[1:],
                dynamic_axes=dict.fromkeys(names, batch),
                opset_version=_OPSET,
                dynamo=False,
            )
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {k: json.dumps(v) for k, v in metadata.items()})
        onnx.checker.check_model(model)
        onnx.save(model, path)

    def code(path: Path) -> str:
        return (
            'import onnxruntime\n\n'
            f'session = onnxruntime.InferenceSession({str(path)!r})\n'
            "(features,) = session.run(None, {'images': images.numpy()})\n"
        )

    config = run.backbone_config
    architecture = f'{class_name(config)} {config.get("depth", config.get("arch", ""))}'.strip()
    return _Plan(write, code, architecture)


def _code(path: Path, imports: list[str], lines: list[str], call: str = 'model(images)') -> str:
    """Code that builds a model, loads a file into it and computes features."""
    load = f'torch.load({str(path)!r}, weights_only=True)'
    if not _is_pickle(path):
        imports = [*imports, 'from safetensors.torch import load_file']
        load = f'load_file({str(path)!r})'
    lines = [*lines, f'model.load_state_dict({load})', 'model.eval()', f'features = {call}']
    return '\n'.join([*imports, '', *lines, ''])


def _write_weights(weights: Mapping[str, Tensor], path: Path, metadata: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}
    if _is_pickle(path):
        torch.save(tensors, path)
    else:
        save_file(tensors, path, {'format': 'pt', 'hvs_mm': json.dumps(metadata)})


def _is_pickle(path: Path) -> bool:
    # Also for a file that is being written, `.backbone.pth.unfinished`.
    return path.name.removesuffix(UNFINISHED).endswith('.pth')


@torch.no_grad()
def _check(
    code: str, images: Tensor, expected: Tensor, format: str, notes: list[str]
) -> float | None:
    """Run the code, and return how far its features are from the expected ones, relatively."""
    names: dict[str, Any] = {'images': images}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            exec(code, names)
    except Exception as error:
        # Libraries refuse what does not fit in ways of their own.
        reason = ' '.join(str(error).split())
        raise ValueError(f'--format {format}: {format} cannot load it: {reason}') from error
    found = torch.as_tensor(names['features'])
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if difference > _TOLERANCE and not notes:
        raise ValueError(
            f'--format {format}: its features differ from those of the run by {difference:.1e} of '
            'the largest one, so nothing is written. Use --format mmpretrain.'
        )
    return difference


@contextmanager
def _folder(path: Path) -> Any:
    """A folder to fill, whose files are moved to their final folder when all are complete."""
    unfinished = path.with_name(f'.{path.name}{UNFINISHED}')
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        yield unfinished
        path.mkdir(exist_ok=True)
        for file in unfinished.iterdir():
            os.replace(file, path / file.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _json(content: Any) -> str:
    return json.dumps(content, indent=2) + '\n'


def _plain(value: Any) -> Any:
    """Settings as plain dicts, lists and tuples, whose repr is code."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value
