"""HTML of the objects that a notebook shows. Every value is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ..api import text
from ..api.models import Cluster, Phase, TimelineEntry
from ..api.units import format_bytes, format_duration

_COLOURS = {
    Phase.running: "--jp-success-color1",
    Phase.failed: "--jp-error-color1",
    Phase.stopped: "--jp-ui-font-color2",
}
_BUSY = "--jp-warn-color1"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a table of text cells."""
    head = "".join(f'<th scope="col" style="text-align:left">{escape(cell)}</th>' for cell in heading)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    title = f'<caption style="text-align:left">{escape(caption)}</caption>'
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def status_line(line: str) -> str:
    """Return a line that screen readers announce politely when it changes."""
    return f'<div role="status">{escape(line)}</div>'


def card(cluster: Cluster, address: str | None, dashboard: str) -> str:
    """Return the card of one cluster. A ``dashboard`` that is no address is shown as the sentence it is."""
    usage, profile = cluster.usage, cluster.profile
    is_link = dashboard.startswith(("/", "http://", "https://"))
    safe = escape(dashboard, quote=True)
    rows = [
        ("Why", escape(" ".join(filter(None, (cluster.reason.message, cluster.reason.hint))))),
        ("Site", escape(f"{cluster.site_title}, profile {profile.title or profile.name}")),
        ("Workers", escape(f"{text.workers(cluster)}, each {text.worker_size(profile)}")),
        ("In use", escape(f"{usage.busy_fraction:.0%} of {usage.cores} cores, {format_bytes(usage.memory_used_bytes)} "
                          f"of {format_bytes(usage.memory_bytes)}")),
        ("Ends", escape(text.end(cluster.end))),
        ("Dashboard", f'<a href="{safe}" target="_blank" rel="noopener">{safe}</a>' if is_link else safe),
    ]  # fmt: skip
    facts = {"On their way": text.on_their_way(cluster), "Left at the site": "; ".join(cluster.left_at_site)}
    rows[3:3] = [(label, escape(told)) for label, told in facts.items() if told]
    if address:
        rows.insert(3, ("Scheduler", f"<code>{escape(address)}</code>"))
    colour = _COLOURS.get(cluster.phase, _BUSY)
    body = "".join(
        f'<tr><th scope="row" style="text-align:left;vertical-align:top">{label}</th>'
        f'<td style="text-align:left">{value}</td></tr>'
        for label, value in rows
    )
    return (
        f'<div style="border-left:4px solid var({colour},currentColor);padding-left:12px">'
        f"<strong>{escape(cluster.name)}</strong> <em>{escape(cluster.phase.value)}</em>"
        f"<table><tbody>{body}</tbody></table></div>"
    )


def logs(chunks: Mapping[str, str]) -> str:
    """Return logs folded by source."""
    return "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(content)}</pre></details>"
        for name, content in chunks.items()
    ) or "<em>no logs yet</em>"  # fmt: skip


def timeline(entries: Sequence[TimelineEntry]) -> str:
    """Return a timeline as a table, oldest first."""
    rows = [(clock(e), since(e, entries[0]), e.level, e.worker or "", e.message) for e in entries]
    return table(("Time", "After", "Level", "Worker", "What happened"), rows, "Timeline")


def clock(entry: TimelineEntry) -> str:
    """Return the local time of an entry."""
    return f"{entry.at.astimezone():%H:%M:%S}"


def since(entry: TimelineEntry, first: TimelineEntry) -> str:
    """Return how long after the first entry this one was."""
    return f"+{format_duration((entry.at - first.at).total_seconds())}"
