"""Benchmark reports as Markdown, CSV and pictures, of this machine or of a phone."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfsr.files import replacing, write_csv, write_json, write_text
from tfsr.pictures import plain
from tfsr.tables import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_PROFILE = 12  # operators in a picture; the tables have all


def write(folder: str | Path, report: dict) -> None:
    """Writes `benchmark.json`, `.csv`, `.md` and `.png` into `folder`.

    If the report has profiles, this also writes `profile.csv`, `.md` and `.png`.

    Args:
        folder: The folder, created if missing.
        report: A report as `timing.benchmark` returns or `android.benchmark` fills it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "benchmark.json", report)
    write_csv(folder / "benchmark.csv", report["results"])
    write_text(folder / "benchmark.md", f"{report['device']}\n\n{table(report)}\n")
    _save(folder / "benchmark.png", latency_figure(report))
    profiles = report.get("profiles")
    if profiles:
        write_csv(folder / "profile.csv", _operator_rows(profiles))
        text = "\n\n".join(profile_table(profile) for profile in profiles)
        write_text(folder / "profile.md", f"{report['device']}\n\n{text}\n")
        _save(folder / "profile.png", profile_figure(profiles))


def table(report: dict) -> str:
    """Returns a benchmark's results as a Markdown table, with failed runs below it."""
    columns = {
        "file": lambda r: Path(r["file"]).name,
        "format": lambda r: r["format"],
        "size": lambda r: r["size"],
        "delegate": lambda r: r["delegate"],
        "threads": lambda r: r["threads"],
        "runs": lambda r: r["runs"],
        "median ms": lambda r: _rounded(r["median_ms"], 1),
        "p95 ms": lambda r: _rounded(r["p95_ms"], 1),
        "mean ms": lambda r: _rounded(r["mean_ms"], 1),
        "spread": lambda r: _percent(r["spread"]),
        "first ms": lambda r: _rounded(r["first_ms"], 1),
        "load ms": lambda r: _rounded(r["load_ms"], 1),
        "peak MB": lambda r: _rounded(r["peak_memory_mb"]),
        "file KB": lambda r: _rounded(r["size_bytes"] / 1000),
        "partitions": lambda r: _rounded(r["partitions"]),
    }
    if "android" in report:
        columns["delegated"] = _delegated
        columns["PSNR dB to desktop"] = lambda r: _rounded(r["psnr_db"], 1)
    failed = [
        f"- {Path(f['file']).name}, {f['delegate']}, {_threads(f['threads'])}: "
        f"{f['error']}"
        for f in report.get("failures", [])
    ]
    failed = ["\n\nFailed:\n", *failed] if failed else []
    return _markdown(columns, report["results"]) + "\n".join(failed)


def profile_table(profile: dict) -> str:
    """Returns a profile as Markdown: its total and tables of kinds and operators."""
    threads = _threads(profile["threads"])
    whole, alone = (
        _rounded(profile["whole_ms"], 2),
        _rounded(profile["operators_ms"], 2),
    )
    kinds = {
        "kind": lambda r: r["kind"],
        "count": lambda r: r["count"],
        "ms": lambda r: _rounded(r["total_ms"], 3),
        "share": lambda r: _percent(r["share"]),
        "GMAC/s": lambda r: _rounded(r["gmac_per_s"], 1),
    }
    operators = {
        "operator": lambda r: r["kind"],
        "detail": lambda r: r["detail"] or r["name"],
        "count": lambda r: r["count"],
        "ms each": lambda r: _rounded(r["ms"], 3),
        "ms": lambda r: _rounded(r["total_ms"], 3),
        "share": lambda r: _percent(r["share"]),
        "M mult-adds each": lambda r: _rounded(r["mult_adds"] and r["mult_adds"] / 1e6),
        "GMAC/s": lambda r: _rounded(r["gmac_per_s"], 1),
    }
    return "\n\n".join(
        [
            f"## {Path(profile['file']).name}, {threads}, {profile['delegate']}",
            f"Whole model {whole} ms; its operators add up to {alone} ms.",
            _markdown(kinds, profile["kinds"]),
            _markdown(operators, profile["operators"]),
        ]
    )


def latency_figure(report: dict) -> "Figure":
    """Returns a Matplotlib figure with a bar for each result.

    The bar ends at the median, and its whisker goes from the minimum to the 95th
    percentile. If a phone's tool gives no median, the bar ends at the mean and has no
    whisker.
    """
    from matplotlib.figure import Figure

    results = report["results"]
    files = list(dict.fromkeys(r["file"] for r in results))
    figure = Figure(figsize=(8, 1.4 + 0.42 * len(results)), layout="constrained")
    axes = figure.subplots()
    for y, r in enumerate(results):
        middle = r["median_ms"] or r["mean_ms"]
        high = r["p95_ms"] or middle
        low = r["min_ms"] if r["p95_ms"] else middle
        axes.barh(y, middle, height=0.7, color=f"C{files.index(r['file']) % 10}")
        error = [[max(middle - low, 0)], [max(high - middle, 0)]]
        axes.errorbar(middle, y, xerr=error, color="0.2", capsize=3, linewidth=1)
        axes.text(high, y, f"  {_rounded(middle, 1)}", va="center", fontsize=9)
    labels = [
        plain(f"{Path(r['file']).name}\n{_threads(r['threads'])}, {r['delegate']}")
        for r in results
    ]
    axes.set_yticks(range(len(results)), labels, fontsize=8)
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms: median, whisker from minimum to 95th percentile")
    axes.set_title(plain(report["device"]), fontsize=9, loc="left")
    _declutter(axes)
    return figure


def profile_figure(profiles: list[dict]) -> "Figure":
    """Returns a Matplotlib figure of the slowest operators, a panel per profile."""
    from matplotlib.figure import Figure

    shown = [profile["operators"][:LONGEST_PROFILE] for profile in profiles]
    kinds = list(dict.fromkeys(row["kind"] for rows in shown for row in rows))
    heights = [1.3 + 0.3 * len(rows) for rows in shown]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    panels = figure.subplots(
        len(profiles), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axes, profile, rows in zip(panels.flat, profiles, shown, strict=True):
        for y, row in enumerate(rows):
            color = f"C{kinds.index(row['kind']) % 10}"
            axes.barh(y, row["total_ms"], height=0.75, color=color)
            rate = f", {row['gmac_per_s']:.0f} GMAC/s" if row["gmac_per_s"] else ""
            note = f"  {_percent(row['share'])}{rate}"
            axes.text(row["total_ms"], y, note, va="center", fontsize=8)
        axes.set_yticks(
            range(len(rows)), map(plain, map(_operator_label, rows)), fontsize=8
        )
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.25)
        axes.set_xlim(left=0)
        axes.set_xlabel("ms, all of a kind and shape together")
        whole, alone = profile["whole_ms"], profile["operators_ms"]
        axes.set_title(
            f"{plain(Path(profile['file']).name)}, {_threads(profile['threads'])}, "
            f"{plain(profile['delegate'])}\nwhole model {_rounded(whole, 1)} ms, "
            f"sum of its operators {_rounded(alone, 1)} ms",
            fontsize=9,
            loc="left",
        )
        _declutter(axes)
    return figure


def _operator_label(row):
    what = row["detail"] or row["name"].rpartition("/")[2]
    what = what if len(what) <= 44 else f"{what[:42]}..."
    return plain(f"{row['count']} {row['kind']}  {what}")


def _operator_rows(profiles):
    own = ("file", "format", "size", "threads", "delegate")
    return [
        {**{key: profile[key] for key in own}, **row}
        for profile in profiles
        for row in profile["operators"]
    ]


def _declutter(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)


def _save(file, figure):
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=150)


def _markdown(columns, rows):
    cells = ([str(cell(row)) for cell in columns.values()] for row in rows)
    return markdown(columns, cells)


def _delegated(result):
    taken, operators = result["delegated_operators"], result["operators"]
    if taken is not None and operators is not None:
        return f"{taken} of {operators}"
    return result["delegated"] or "-"


def _threads(threads):
    return "1 thread" if threads == 1 else f"{threads} threads"


def _percent(share):
    return "-" if share is None else f"{share:.0%}"


def _rounded(value, digits=0):
    return "-" if value is None else f"{value:.{digits}f}"
