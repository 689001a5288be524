"""What hard views cost on this machine's GPU, and whether they work there, within minutes.

Measures the steps of SimSiam, DINO, iBOT and DINOv2 at full size with and without selection, in
turn, at the largest batch that fits: ratio, images per second and memory, eager and compiled, with
and without the fast modes. Checks that a step waits for no GPU, that the GPU selects the views that
the CPU selects, training in float16 with a loss scaler, and resuming; and times photometry in the
loader and on the device. Needs no images. Writes all numbers as JSON, and a page about them.

The most telling parts come first. Those that the time is too short for are listed as left out, and
those that fail with the reason; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import torch
from gpu_parts.batches import release_memory
from gpu_parts.page import write_page
from gpu_parts.parts import all_parts
from gpu_parts.plan import run_plan
from gpu_parts.setting import Setting
from gpu_parts.worker import Worker

from hvs_mm.engine import one_line_errors, output_file, tool_parser, write_json

#: Seconds to end the last part and to write.
_RESERVE = 10


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('--minutes', type=float, default=8.0, help='how long it may take, 8')
    parser.add_argument(
        '--out',
        default='gpu_check',
        metavar='NAME',
        help='writes NAME.json and NAME.md, gpu_check by default',
    )
    parser.add_argument(
        '--tiny',
        action='store_true',
        help='the networks and images of the demos, also on a CPU; to try the tool',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    start = time.monotonic()
    args = parse_args(argv)
    with one_line_errors():
        if not args.minutes > 0:
            raise ValueError(f'--minutes {args.minutes:g} must be above 0.')
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        if device == 'cpu' and not args.tiny:
            raise ValueError('torch sees no GPU here: add --tiny to try the tool on the CPU.')
        paths = [output_file(f'{args.out}.{kind}') for kind in ('json', 'md')]

        def save(rows: list[dict[str, Any]]) -> None:
            content = {
                'device': device,
                'tiny': args.tiny,
                'minutes': args.minutes,
                'seconds': time.monotonic() - start,
                'parts': rows,
            }
            write_json(paths[0], content)
            paths[1].write_text(write_page(content), encoding='utf-8')

        # cuBLAS adds up in the same order each time, if it reads this before its first work.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        seconds = 60 * args.minutes - _RESERVE
        with Worker(tidy=release_memory) as worker:
            parts = all_parts(Setting(device, args.tiny))
            rows = run_plan(parts, worker, seconds, save, tell=lambda line: print(line, flush=True))
    print(f'written: {", ".join(map(str, paths))}')
    failed = [row['name'] for row in rows if row['status'] == 'failed']
    if failed:
        sys.exit(f'error: {len(failed)} of {len(rows)} parts failed: {", ".join(failed)}.')


if __name__ == '__main__':
    main()
