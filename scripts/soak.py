"""The faults of scripts/faults.py for so many minutes.

python scripts/soak.py --minutes 60
"""

from __future__ import annotations

import argparse
import sys
import time

from faults import inject


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    args = parser.parse_args()
    end_s = time.monotonic() + 60 * args.minutes
    return inject(args.seed, lambda events: time.monotonic() >= end_s, None, args.json)


if __name__ == "__main__":
    sys.exit(main())
