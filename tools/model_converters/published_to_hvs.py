"""Bring a checkpoint published with DINO or iBOT into the names of this package."""

from __future__ import annotations

import argparse
import os.path as osp
from collections import Counter
from collections.abc import Mapping

from torch import Tensor, nn

import hvs_mm
from hvs_mm.engine import (
    add_trust_option,
    build_model,
    one_line_errors,
    read_config,
    tool_parser,
)
from hvs_mm.reports import printable
from hvs_mm.weights.checkpoint_files import check_output, load_checkpoint, save_checkpoint
from hvs_mm.weights.pretrained_backbone import differing_shapes, list_some
from hvs_mm.weights.published import TEACHER, from_published


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('source', help='published checkpoint: full, or a backbone')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--config', help='check that the result fits the model of this config')
    parser.add_argument('--force', action='store_true', help='overwrite the target')
    add_trust_option(parser)
    return parser.parse_args(argv)


def check_fit(state_dict: Mapping[str, Tensor], model: nn.Module, config: str) -> list[str]:
    """Load converted weights and check that they are those of the model.

    Parts of the model may be missing in the weights as a whole, such as ``neck.*`` of a backbone.
    ``config`` is the name of the model's config, for the message.

    Returns:
        Differences without harm, one sentence each.

    Raises:
        ValueError: If a tensor is missing, has no place, or has another shape.
    """
    own = model.state_dict()
    notes, misfits = [], []
    absent = sorted({_part(name) for name in own} - {_part(name) for name in state_dict})
    if absent:
        notes.append(f'not in the checkpoint, initialized as configured: {", ".join(absent)}.')
    for name, theirs, ours in differing_shapes(state_dict, own):
        if theirs is None and _part(name) in absent:
            continue
        if theirs is None and name.endswith('backbone.mask_token'):
            notes.append(f'not in the checkpoint, initialized as configured: {name}.')
        elif name.endswith('backbone.pos_embed') and theirs and ours and theirs[-1] == ours[-1]:
            # MMPretrain's ViT interpolates it for another image size.
            notes.append(f'{name} {theirs} is resized to {ours} on loading.')
        else:
            places = f'{theirs or "not"} in the checkpoint, {ours or "not"} in the model'
            misfits.append(f'{name}: {places}')
    if misfits:
        lines = list_some(misfits, 5, separator='\n  ')
        raise ValueError(
            f'the checkpoint is of another architecture than {config}, {len(misfits)} of '
            f'{len(own.keys() | state_dict.keys())} tensors differ:\n  '
            f'{lines}\nGive the config of its architecture, or '
            'change arch, patch_size, out_channels or shared_head in this one. For the backbone '
            "alone convert without --config and set init_cfg=dict(type='Pretrained', "
            "checkpoint=..., prefix='backbone.') in the config of the backbone."
        )
    # A copy of the dict: MMPretrain's resizing writes to it.
    model.load_state_dict(dict(state_dict), strict=False)
    return notes


def summary(state_dict: Mapping[str, Tensor]) -> str:
    """Number of tensors by part, e.g. ``'backbone.* 150, head.* 1'``."""
    counts = Counter(map(_part, state_dict))
    return ', '.join(f'{part} {count}' for part, count in counts.items())


def _part(name: str) -> str:
    prefix = TEACHER if name.startswith(TEACHER) else ''
    return f'{prefix}{name.removeprefix(prefix).split(".")[0]}.*'


def convert(args: argparse.Namespace) -> None:
    check_output(args.target, args.force)
    state_dict, unmatched, notes = from_published(load_checkpoint(args.source, args.trust))
    print(f'converted: {printable(summary(state_dict))}')
    print(f'not matched: {printable(", ".join(unmatched)) or "nothing"}')
    for note in notes:
        print(f'note: {printable(note)}')
    if args.config is not None:
        model = build_model(read_config(args.config), args.trust)
        for note in check_fit(state_dict, model, args.config):
            print(f'note: {printable(note)}')
        print(f'fits: {printable(args.config)}')
    meta = {'hvs_mm_version': hvs_mm.version.__version__, 'published': osp.basename(args.source)}
    save_checkpoint({'state_dict': state_dict, 'meta': meta}, args.target)
    print(f'written: {printable(args.target)}')


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(KeyError, OSError, TypeError, ValueError):
        convert(args)


if __name__ == '__main__':
    main()
