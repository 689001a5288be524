"""Write the backbone of a checkpoint as a state dict for torchvision, timm or MMPretrain."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from hvs_mm.engine import add_trust_option, one_line_errors, tool_parser
from hvs_mm.reports import parse_config, printable
from hvs_mm.weights import backbone_state
from hvs_mm.weights.checkpoint_files import check_output, load_checkpoint, save_checkpoint
from hvs_mm.weights.finite_weights import check_finite_weights
from hvs_mm.weights.pretrained_backbone import NETWORKS
from hvs_mm.weights.timm_torchvision import STYLES, RenamedBackbone, rename_backbone


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint that training wrote, or a converted one')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--style',
        choices=STYLES,
        help='whose names to write; by default torchvision for a ResNet, timm for a ViT',
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        '--network',
        choices=list(NETWORKS),
        help='which network to take; by default the teacher if there is one, as in DINO and iBOT',
    )
    network.add_argument(
        '--prefix',
        help="what the names of the backbone begin with, if elsewhere; '' for a bare backbone",
    )
    parser.add_argument('--force', action='store_true', help='overwrite the file')
    add_trust_option(parser)
    return parser.parse_args(argv)


def backbone_config(checkpoint: Any) -> dict[str, Any]:
    """The backbone's config in a checkpoint of MMEngine, empty if there is none."""
    meta = checkpoint.get('meta') if isinstance(checkpoint, Mapping) else None
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    if not isinstance(text, str):
        return {}
    try:
        model = parse_config(text).get('model')
    except ValueError:
        return {}
    if isinstance(model, dict):
        # HVSAlgorithm holds the method that has the backbone.
        model = model.get('algorithm', model)
    backbone = model.get('backbone') if isinstance(model, dict) else None
    return backbone if isinstance(backbone, dict) else {}


def describe(backbone: RenamedBackbone, prefix: str, out: str) -> str:
    left_out = [f'{name} ({reason})' for name, reason in backbone.left_out.items()]
    lines = [
        f'architecture: {backbone.architecture}',
        f'from: {prefix}*' if prefix else 'from: the bare names',
        f'written: {out}, {len(backbone.weights)} tensors, names of {backbone.style}',
        f'left out: {", ".join(left_out) or "nothing"}',
        *(f'note: {note}' for note in backbone.notes),
    ]
    if backbone.model is not None:
        lines.append(f'model: {backbone.model}')
        lines += [f'then: {change}' for change in backbone.changes]
    return '\n'.join(map(printable, lines))


def read_backbone(args: argparse.Namespace) -> tuple[str, RenamedBackbone]:
    """The prefix of the backbone's names, and the backbone under its new ones.

    Raises:
        ValueError: If the file cannot be read, or holds no backbone of a known architecture.
    """
    prefix = NETWORKS[args.network] if args.network else args.prefix
    try:
        checkpoint = load_checkpoint(args.checkpoint, args.trust)
        prefix, state = backbone_state(checkpoint, prefix)
        check_finite_weights(state, args.checkpoint)
        return prefix, rename_backbone(state, args.style, backbone_config(checkpoint))
    except ValueError as error:
        text = str(error)
        named = text if args.checkpoint in text else f'{args.checkpoint}: {text}'
        raise ValueError(named) from error


def extract(args: argparse.Namespace) -> None:
    check_output(args.out, args.force)
    prefix, backbone = read_backbone(args)
    save_checkpoint(backbone.weights, args.out)
    print(describe(backbone, prefix, args.out))


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(OSError, ValueError):
        extract(args)


if __name__ == '__main__':
    main()
