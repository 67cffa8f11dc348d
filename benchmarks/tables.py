"""A run's figures as Markdown tables, and into a page between markers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["tables", "write_into"]

Lines = list[str]


def tables(report: dict[str, Any]) -> dict[str, str]:
    """Markdown by name of what the run holds."""
    makers: dict[str, Callable[[Any], Lines]] = {
        "machine": _machine, "goals": _goals, "path": _path, "roofline": _roofline,
        "peers": _peers, "pipelines": _pipelines, "scaling": _scaling, "growth": _growth,
        "startup": _startup,
    }  # fmt: skip
    return {name: "\n".join(make(report[name])) for name, make in makers.items() if name in report}


def write_into(page: Path, parts: dict[str, str]) -> list[str]:
    """Puts tables between ``<!-- bench:NAME -->`` and ``<!-- /bench -->`` of a page.

    Returns:
        The names that the page has a place for.

    Raises:
        ValueError: a marker has no end.
    """
    text = page.read_text(encoding="utf-8")
    if text.count("<!-- bench:") != text.count("<!-- /bench -->"):
        raise ValueError(f"expected each '<!-- bench:' in {page} to have its '<!-- /bench -->'")
    done = []
    for name, part in parts.items():
        begin, end = f"<!-- bench:{name} -->", "<!-- /bench -->"
        place = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
        filled = f"{begin}\n\n{part}\n\n{end}"
        text, count = place.subn(lambda _, new=filled: new, text)
        done += [name] if count else []
    page.write_text(text, encoding="utf-8")
    return done


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], text: int = 1) -> Lines:
    """So many columns are text, those after them are figures."""
    lines = ["| " + " | ".join(heads) + " |"]
    lines.append("|" + " --- |" * text + " --: |" * (len(heads) - text))
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def _machine(found: dict[str, Any]) -> Lines:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    virtual = ", a virtual machine" if found["virtual"] else ""
    return [
        f"Measured on: {found['cpu']} (family/model {found['family_model']}; "
        f"{', '.join(found['features']) or 'no vector extensions known here'}), "
        f"{found['cores']} cores, {found['ram_gb']} GB{virtual}; {found['system']}, Python "
        f"{found['python']}; {versions}. Load average at the start: {found['load'][0]}."
    ]


def _goals(rows: list[dict[str, Any]]) -> Lines:
    return _table(
        ["Goal", "Kind", "Measured", "Met"],
        [(r["goal"], r["kind"], r["measured"], "yes" if r["met"] else "**no**") for r in rows],
        text=4,
    )


def _path(found: dict[str, Any]) -> Lines:
    names = ("crop", "network", "mask", "encode", "paste")
    heads = ["network, threads, batch, ROI", "bare", *names, "whole", "segment", "+ encode",
             "+ paste", "of the fastest"]  # fmt: skip
    rows = [
        (
            f"{r['network']}, {r['threads']}, {r['batch']}, {r['side_px']} px",
            f"{r['bare_ms']:.2f}",
            *(f"{r[f'{name}_ms']:.2f}" for name in names),
            f"{r['whole_ms']:.2f}",
            *(f"{r[f'{name}_ratio']:.2f}" for name in ("segment", "encode", "whole", "whole_best")),
        )
        for r in found["rows"]
    ]
    return _table(heads, rows)


def _limits(found: dict[str, Any]) -> Lines:
    rows = [(name, f"{value:.0f} GMAC/s") for name, value in found["gmacs"].items()]
    rows += [(name, f"{value:.0f} GB/s") for name, value in found["gb_s"].items()]
    return _table(["One core", "at best"], rows)


def _roofline(found: dict[str, Any]) -> Lines:
    lines = [*_limits(found["limits"]), ""]
    networks = found["networks"]
    lines += _table(
        ["network", "best ms", "M MACs", "of the graph", "kB weights", "kB activations",
         "ms at the GEMM peak", "ms for the bytes", "share of the limit"],
        [
            (name, f"{r['best_ms']:.2f}", f"{r['macs'] / 1e6:.0f}", f"{r['macs_run'] / 1e6:.0f}",
             f"{r['weight_bytes'] / 1e3:.0f}", f"{r['activation_bytes'] / 1e3:.0f}",
             f"{r['compute_floor_ms']:.2f}", f"{r['memory_floor_ms']:.2f}", f"{r['share']:.2f}")
            for name, r in networks.items()
        ],
    )  # fmt: skip
    for name, network in networks.items():
        lines += ["", f"Where the time of {name} goes, by onnxruntime's profiler:", ""]
        shown = [row for row in network["operators"] if row["time_share"] >= 0.01]
        rest = sum(row["time_share"] for row in network["operators"]) - sum(
            row["time_share"] for row in shown
        )
        rows = [
            (r["operator"], r["nodes"], f"{r['ms']:.3f}", f"{100 * r['time_share']:.0f} %",
             f"{r['macs'] / 1e6:.1f}", f"{r['gmacs']:.0f}" if r["macs"] else "-")
            for r in shown
        ]  # fmt: skip
        rows.append(("all others", "", "", f"{100 * rest:.0f} %", "", ""))
        lines += _table(["operator", "nodes", "ms", "share", "M MACs", "GMAC/s"], rows)
    return lines


def _peers(found: dict[str, Any]) -> Lines:
    rows = [
        (r["name"], r["weights"], f"{r['parameters'] / 1e6:.1f}" if r["parameters"] else "-",
         f"{r['picture_ms']:.0f}" if r["picture_ms"] > 0.01 else "-", f"{r['prompt_ms']:.2f}",
         f"{r['ms']:.2f}", f"{r['times']:.1f}", f"{100 * r['miou']:.1f}" if "miou" in r else "-")
        for r in found["rows"]
    ]  # fmt: skip
    lines = _table(["", "weights", "M parameters", "ms a picture", "ms a prompt", "ms, one prompt",
                    "times ours", "mIoU"], rows)  # fmt: skip
    if found["objects"]:
        lines += ["", f"mIoU: exact boxes, {found['objects']} objects, each in 96 x 96 px."]
    return lines + _left_out(found)


def _pipelines(found: dict[str, Any]) -> Lines:
    heads = [
        "1280 x 720",
        "frames/s",
        "cores",
        "CPU ms a frame",
        "RSS, MB",
        "received/s",
        "p50, ms",
        "p99, ms",
    ]
    rows = [
        (label + r["name"], f"{r['fps']:.0f}", f"{r['cpu']:.2f}", f"{r['cpu_ms']:.1f}", *(
            f"{r[key]:.{digits}f}" if key in r else "-"
            for key, digits in (("rss_mb", 0), ("received_hz", 0), ("latency_p50_ms", 1),
                                ("latency_p99_ms", 1))
        ))
        for label, part in (("", "unpaced"), ("30 fps, ", "paced"))
        for r in found[part]
    ]  # fmt: skip
    return _table(heads, rows) + _left_out(found)


def _scaling(found: dict[str, Any]) -> Lines:
    lines = _table(
        ["ROIs in one picture", "ms", "ms each"],
        [(r["count"], f"{r['ms']:.2f}", f"{r['each_ms']:.2f}") for r in found["rois"]],
    )
    lines += ["", *_table(
        ["Picture", "ROI of a third of the width, ms", "ROI of 300 px, ms"],
        [(r["size"], f"{r['third_ms']:.2f}", f"{r['fixed_ms']:.2f}") for r in found["sizes"]],
    )]  # fmt: skip
    lines += ["", *_table(
        ["Publishers (JSON lines) at 30 fps", "cores", "RSS, MB"],
        [(r["count"], f"{r['cpu']:.3f}", f"{r['rss_mb']:.0f}") for r in found["publishers"]],
    )]  # fmt: skip
    return lines


def _growth(found: dict[str, Any]) -> Lines:
    rss = ", ".join(f"{value:.1f} MB at {key}" for key, value in found["rss_mb"].items())
    return [
        f"{found['frames']} frames into {' and '.join(found['publishers'])}: resident {rss}; "
        f"growth {found['growth_mb']:+.1f} MB, slope {found['slope_kb_per_1000']:+.1f} kB per "
        f"1,000 frames; {found['threads']} threads."
    ]


def _startup(found: dict[str, Any]) -> Lines:
    rows = [(name, f"{value:.0f} ms") for name, value in found["ms"].items()]
    rows += [
        ("import picosam_sdk, times python alone", f"{found['ratio_to_python']:.1f}"),
        ("import picosam_sdk, times import numpy", f"{found['ratio_to_numpy']:.2f}"),
        ("'picosam segment', most memory", f"{found['segment_rss_mb']:.0f} MB"),
        ("installed with all it needs", f"{found['installed_sum_mb']:.0f} MB"),
    ]
    largest = sorted(found["installed_mb"].items(), key=lambda item: -item[1])[:4]
    rows += [(f"of that, {name}", f"{size:.1f} MB") for name, size in largest]
    return _table(["New process, until its end", ""], rows)


def _left_out(found: dict[str, Any]) -> Lines:
    return ["", *(f"- Left out: {text}" for text in found["left_out"])] if found["left_out"] else []
