"""The plot: how many times as fast as each peer, on a logarithmic scale, a line for each work."""

import math
from html import escape

WIDTH = 1180
LEFT = 400
ROW = 18
LEAST, MOST = 0.05, 1000.0


def times_as_fast(one):
    """More is better for us, whatever the unit."""
    if not one["ratio"]:
        return None
    return one["ratio"] if one["unit"].endswith("/s") else 1 / one["ratio"]


def at(value):
    share = (math.log10(min(max(value, LEAST), MOST)) - math.log10(LEAST)) / (math.log10(MOST) - math.log10(LEAST))
    return LEFT + share * (WIDTH - LEFT - 190)


def svg(entries, title):
    shown = [one for one in entries if times_as_fast(one)]
    height = 70 + ROW * len(shown)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           'font-family="DejaVu Sans, sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           '<text x="8" y="18" font-size="14">zeropool beside its peers: times as fast (right of 1: faster)</text>',
           f'<text x="8" y="34" fill="#555">{escape(title)}</text>']
    for tick in (0.1, 1, 10, 100, 1000):
        x = at(tick)
        out.append(f'<line x1="{x:.1f}" y1="54" x2="{x:.1f}" y2="{height - 6}" stroke="{"#333" if tick == 1 else "#ddd"}"/>')
        out.append(f'<text x="{x:.1f}" y="50" text-anchor="middle">{tick:g}</text>')
    last = None
    for number, one in enumerate(shown):
        y = 66 + ROW * number
        if (one["id"], one["work"]) != last:
            last = (one["id"], one["work"])
            out.append(f'<text x="8" y="{y + 4}">{escape(one["id"])}  {escape(one["work"])}</text>')
        value = times_as_fast(one)
        a, b = sorted((at(1), at(value)))
        colour = "#2a7f4f" if value >= 1 else "#b5482f"
        out.append(f'<rect x="{a:.1f}" y="{y - 6}" width="{max(b - a, 1):.1f}" height="12" fill="{colour}"/>')
        out.append(f'<text x="{WIDTH - 185}" y="{y + 4}">{value:.2f} {escape(one["peer_name"])}</text>')
    return "\n".join(out + ["</svg>", ""])
