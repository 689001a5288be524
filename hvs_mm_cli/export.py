"""Write the backbone of a run for another library, and print the code that loads it.

hvs-mm export runs/first --format timm
hvs-mm export runs/first --format onnx --out model.onnx
"""

from __future__ import annotations

import argparse

from ._options import add_run_options, describe_source

#: As in hvs_mm.runs.exporting, whose import takes seconds; a test compares them.
FORMATS = ('timm', 'torchvision', 'mmpretrain', 'hf', 'onnx')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_options(parser)
    parser.add_argument(
        '--format', default='timm', metavar='NAME', help=f'{", ".join(FORMATS)}; timm'
    )
    parser.add_argument(
        '--out',
        metavar='PATH',
        help='.safetensors, .pth or .onnx, a folder for hf; default: RUN/backbone_FORMAT',
    )
    parser.add_argument('--force', action='store_true', help='overwrite files')


def run(args: argparse.Namespace) -> None:
    """Export."""
    from hvs_mm.engine import one_line_errors
    from hvs_mm.reports import printable
    from hvs_mm.runs.exporting import export

    with one_line_errors():
        result = export(**vars(args))
    metadata = result.metadata
    source = describe_source(metadata['network'], metadata['checkpoint'])
    print(f'{metadata["architecture"]}, {source}')
    for note in result.notes:
        print(f'note: {printable(note)}')
    if result.difference is None:
        library = 'transformers' if args.format == 'hf' else args.format
        print(f'not checked: {library} is not installed here')
    else:
        difference = (
            f'differ from those of the run by at most {result.difference:.0e} of the largest'
        )
        print(f'checked: features {difference if result.difference else "equal those of the run"}')
    print(f'written: {printable(result.path)}')
    preprocessing = metadata['preprocessing']
    shape = ', '.join(map(str, ('B', len(preprocessing['mean']), *preprocessing['size'])))
    print(f'\n# images: ({shape}) float32, normalized as the metadata says')
    print(result.code, end='')
