"""`python -m service`."""

from __future__ import annotations

import sys

from service import cli


def main() -> int:
    """Run the command line."""
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
