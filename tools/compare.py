"""Compare runs by what is in their work dirs: one table and one plot; as ``hvs-mm compare``."""

from __future__ import annotations

from hvs_mm.engine import tool_parser
from hvs_mm_cli import compare


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    compare.add_arguments(parser)
    compare.run(parser.parse_args(argv))


if __name__ == '__main__':
    main()
