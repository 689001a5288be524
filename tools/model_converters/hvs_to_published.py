"""Bring a checkpoint of DINO or iBOT of this package into the names of the published code."""

from __future__ import annotations

import argparse

from hvs_mm.engine import add_trust_option, one_line_errors, tool_parser
from hvs_mm.reports import printable
from hvs_mm.weights.checkpoint_files import check_output, load_checkpoint, save_checkpoint
from hvs_mm.weights.published import to_published


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('source', help='checkpoint that training wrote, or a converted one')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--force', action='store_true', help='overwrite the target')
    add_trust_option(parser)
    return parser.parse_args(argv)


def convert(args: argparse.Namespace) -> None:
    check_output(args.target, args.force)
    checkpoint, unmatched, notes = to_published(load_checkpoint(args.source, args.trust))
    is_full = checkpoint.keys() & {'student', 'teacher'}
    groups = checkpoint if is_full else {'backbone': checkpoint}
    print(f'converted: {", ".join(f"{name} {len(group)}" for name, group in groups.items())}')
    print(f'not matched: {printable(", ".join(unmatched)) or "nothing"}')
    for note in notes:
        print(f'note: {printable(note)}')
    save_checkpoint(checkpoint, args.target)
    print(f'written: {printable(args.target)}')


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(OSError, TypeError, ValueError):
        convert(args)


if __name__ == '__main__':
    main()
