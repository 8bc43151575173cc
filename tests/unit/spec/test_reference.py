"""The published reference: current and complete."""

from __future__ import annotations

from pathlib import Path

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.keys import DEPLOYMENT_KEYS
from byteord.spec import reference
from byteord.spec.codes import CODES
from byteord.spec.lanegraph.keys import ALL_SPEC_KEYS
from byteord.stages.catalogue import CATALOGUE as STAGES

PAGE = Path(reference.__file__).with_name("REFERENCE.md")


def test_the_page_is_what_the_tables_say() -> None:
    """The committed page is current.

    If not: `python -m byteord.spec.reference > byteord/spec/REFERENCE.md`.
    """
    assert PAGE.read_text() == reference.render()


def test_the_page_has_every_key() -> None:
    """Every key of both documents, every stage's and adapter's, and every code has its row."""
    page = PAGE.read_text()
    for key in (*ALL_SPEC_KEYS, *DEPLOYMENT_KEYS):
        assert f"| `{key.path}` |" in page
        assert key.doc
    for code in CODES:
        assert f"| `{code.name}` |" in page
    sections = {part.partition("`")[0]: part for part in page.split("\n### `")}
    infos = [STAGES.info(name) for name in STAGES.names()]
    infos += [ADAPTERS.info(kind) for kind in ADAPTERS.kinds()]  # type: ignore[misc]
    for info in infos:
        assert info is not None
        name = getattr(info, "name", "") or getattr(info, "kind", "")
        for row in info.keys:
            assert f"| `{row.name}` |" in sections[name]
            assert row.doc, (name, row.name)
