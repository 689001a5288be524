"""Entry point of ``hvs-mm``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from types import FrameType
from typing import NoReturn

#: Subcommands, each a module of this folder with ``add_arguments`` and ``run``.
COMMANDS = {
    'train': 'pretrain a backbone on images',
    'eval': 'k-NN and linear accuracy of a run on images in class folders',
    'embed': 'features of images, as .npz or .parquet',
    'export': 'the backbone for timm, torchvision, MMPretrain, Hugging Face or ONNX',
    'views': 'picture of the candidate views of images',
    'report': 'one HTML page on one or several runs',
    'compare': 'table and plot of several runs',
}
#: What MMPretrain consists of; no release of it can be required under one name.
_NEEDED = ('mmcv', 'mmengine', 'mmpretrain', 'torch', 'torchvision')


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest option instead of a list of all."""

    def error(self, message: str) -> NoReturn:
        options = [name for action in self._actions for name in action.option_strings]
        unknown = message.partition('unrecognized arguments: ')[2].split()
        similar = get_close_matches(unknown[0], options, n=1) if unknown else []
        hint = f'did you mean {similar[0]}? ' if similar else ''
        self.exit(2, f'error: {message}: {hint}"{self.prog} --help" lists all options.\n')


def stop_early(number: int, frame: FrameType | None) -> None:
    """End the process at Ctrl-C without a traceback through half-imported packages."""
    print('\nstopped', flush=True)
    os._exit(128 + number)


def main(argv: list[str] | None = None) -> None:
    """Run a subcommand."""
    if argv is None:
        signal.signal(signal.SIGINT, stop_early)
        # Before torch is imported: threads that wait for others give their core away.
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    argv = sys.argv[1:] if argv is None else argv
    parser = OneLineParser(
        prog='hvs-mm',
        description='Pretrain vision backbones on your own images with hard view selection.',
        epilog='"hvs-mm COMMAND --help" shows the options of a command.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = '\n'.join(f'  {name:<9} {text}' for name, text in COMMANDS.items())
    parser.usage = f'hvs-mm COMMAND ...\n\ncommands:\n{commands}'
    name = argv[0] if argv else '--help'
    if name.startswith('-'):
        parser.add_argument('--version', action='store_true', help='print the version')
        if parser.parse_args(argv or ['--help']).version:
            print(f'hvs-mm {version("hvs-mm")}')
        return
    if name not in COMMANDS:
        similar = get_close_matches(name, COMMANDS, n=1)
        hint = f'did you mean {similar[0]!r}? ' if similar else ''
        sys.exit(f'error: unknown command {name!r}: {hint}There are {", ".join(COMMANDS)}.')
    command = import_module(f'.{name.replace("eval", "evaluate")}', __package__)
    parser = OneLineParser(
        prog=f'hvs-mm {name}',
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    args = parser.parse_args(argv[1:])
    try:
        command.run(args)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.exit(
            f'error: hvs-mm needs MMPretrain, but there is no module {error.name!r}: install it '
            'with pip install "hvs-mm[onedl]", or activate the environment that has it.'
        )
    except KeyboardInterrupt:
        sys.exit('stopped')


if __name__ == '__main__':
    main()
