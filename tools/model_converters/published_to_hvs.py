"""Bring a checkpoint published with DINO or iBOT into the names of this package."""

from __future__ import annotations

import argparse
import os.path as osp

from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import nn

import hvs_mm
from hvs_mm.engine import add_trust_option, one_line_errors, read_config, tool_parser
from hvs_mm.reports import printable
from hvs_mm.weights.checkpoint_files import check_output, load_checkpoint, save_checkpoint
from hvs_mm.weights.published import check_fit, from_published, summary


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('source', help='published checkpoint: full, or a backbone')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--config', help='check that the result fits the model of this config')
    parser.add_argument('--force', action='store_true', help='overwrite the target')
    add_trust_option(parser)
    return parser.parse_args(argv)


def build_model(path: str) -> nn.Module:
    """The model of a config, initialized at random.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    cfg = read_config(path)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        return MODELS.build(cfg.model)


def convert(args: argparse.Namespace) -> None:
    check_output(args.target, args.force)
    state_dict, unmatched, notes = from_published(load_checkpoint(args.source, args.trust))
    print(f'converted: {printable(summary(state_dict))}')
    print(f'not matched: {printable(", ".join(unmatched)) or "nothing"}')
    for note in notes:
        print(f'note: {printable(note)}')
    if args.config is not None:
        for note in check_fit(state_dict, build_model(args.config), args.config):
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
