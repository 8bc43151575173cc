"""The topology of a spec in the DOT language of Graphviz.

Pure; rendering is the caller's business.
"""

from __future__ import annotations

from byteord.spec.model import Spec, Stage


def to_dot(spec: Spec) -> str:
    """Return a directed graph: ingress, ring, stages along their dependencies, egress."""
    ring = spec.ring
    shards = f"\\n{ring.shards} shards" if ring.shards > 1 else ""
    label = f'"ring\\n{ring.capacity} x {ring.slot_bytes} bytes{shards}"'
    lines = [
        f"digraph {quoted(spec.name)} {{",
        "  rankdir=LR;",
        '  node [shape=box, style=rounded, fontname="sans-serif"];',
        f"  {quoted(spec.ingress.name)} [shape=cds, style=solid];",
        f"  {quoted(spec.egress.name)} [shape=cds, style=solid];",
        f'  "ring " [shape=cylinder, style=solid, label={label}];',
        f'  {quoted(spec.ingress.name)} -> "ring ";',
    ]
    for stage in spec.stages:
        lines.append(f"  {quoted(stage.name)} [label={_label(stage)}];")
        sources = [quoted(spec.stages[ref].name) for ref in stage.depends_on] or ['"ring "']
        lines.extend(f"  {source} -> {quoted(stage.name)};" for source in sources)
    lines.append(f"  {quoted(spec.stages[-1].name)} -> {quoted(spec.egress.name)};")
    lines.append("}")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a text as a quoted DOT identifier."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _label(stage: Stage) -> str:
    words = traits(stage)
    lines = [stage.name, stage.stage, *([", ".join(words)] if words else [])]
    return '"' + "\\n".join(quoted(line)[1:-1] for line in lines) + '"'


def traits(stage: Stage) -> list[str]:
    """Return what a picture says of a stage beside its name."""
    return [word for word, holds in _traits(stage) if holds]


def _traits(stage: Stage) -> tuple[tuple[str, bool], ...]:
    return (
        ("mutates", bool(stage.mutates)),
        ("drops", stage.drops),
        ("resizes", stage.resizes),
        ("private state", stage.state == "private"),
        ("state", stage.state == "state"),
        ("side effects", stage.effects is None or bool(stage.effects)),
    )
