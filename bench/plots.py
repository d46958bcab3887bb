"""The figures as SVG, written by hand: one panel a work, one bar a subject. Pure."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from bench.peers import LIMIT, OWN
from bench.report import Measured, median

COLUMNS, WIDTH, BAR, TITLE, GAP = 3, 330, 17, 34, 18
LABEL, FIGURE = 110, 52  # pixels left for names and for numbers
COLOURS = {OWN: "#d9480f", LIMIT: "#adb5bd"}
OTHERS = "#4c6ef5"


def panels(measured: Sequence[Measured], names: Mapping[str, str]) -> str:
    """An SVG document of all works; less is better but where the unit is a rate."""
    subjects = [name for name in names if any(each.row.get(name) for each in measured)]
    height = TITLE + BAR * len(subjects) + GAP
    rows = -(-len(measured) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMNS * WIDTH}"'
        f' height="{rows * height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, each in enumerate(measured):
        x, y = number % COLUMNS * WIDTH, number // COLUMNS * height
        parts.append(f'<g transform="translate({x + 8},{y})">{_panel(each, names)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(measured: Measured, names: Mapping[str, str]) -> str:
    work, row, _ = measured
    values = {name: median(row[name]) for name in names if row.get(name)}
    most = max(values.values(), default=1.0) or 1.0
    title = f"{work.name} [{work.unit}]"
    parts = [f'<text y="20" font-weight="bold">{escape(title)}</text>']
    for number, (name, value) in enumerate(values.items()):
        y = TITLE + number * BAR
        length = value / most * (WIDTH - LABEL - FIGURE - 16)
        colour = COLOURS.get(name, OTHERS)
        parts.append(
            f'<text x="{LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(names[name])}</text>'
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR - 4}" fill="{colour}"/>'
            f'<text x="{LABEL + length + 4:.1f}" y="{y + 11}">{value:.4g}</text>'
        )
    return "".join(parts)
