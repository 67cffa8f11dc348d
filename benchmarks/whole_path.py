"""Prints what a ROI costs on top of the bare network, as ratios from one run.

python benchmarks/whole_path.py [--json] [--threads N]
"""

from __future__ import annotations

import argparse
import json

from picosam_sdk.bench import whole_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    args = parser.parse_args()
    rows = whole_path(threads=args.threads)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'ROI on 1280 x 720':<20}{'network':>12}{'whole path':>12}{'ratio':>8}{'pasted':>8}")
    for name, row in rows.items():
        times = f"{row['network_ms']:>9.3f} ms{row['whole_path_ms']:>9.3f} ms"
        print(f"{name:<20}{times}{row['ratio']:>8.2f}{row['with_paste_ratio']:>8.2f}")


if __name__ == "__main__":
    main()
