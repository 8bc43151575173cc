"""Entry of `byteorctl` and of `python -m byteorctl`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from byteorctl.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
