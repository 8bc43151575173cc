"""The bench: how speed is measured, against what, and whether the targets were reached.

`python -m tests.bench` runs it. `method` holds the rules (pure), `native/` the anchors and the
native candidates, `disruptor` and `python_links` the other peers, `targets` what is wanted,
`report` the table.
"""
