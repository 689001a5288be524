"""Show what was selected in a run as one HTML file; as ``hvs-mm report``."""

from __future__ import annotations

from hvs_mm.engine import tool_parser
from hvs_mm_cli import report


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    report.add_arguments(parser)
    report.run(parser.parse_args(argv))


if __name__ == '__main__':
    main()
