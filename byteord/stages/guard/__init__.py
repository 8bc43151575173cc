"""Data protection: schemas that messages are held to, and rules that take out what must not pass.

The native side (`cext/stage_dataguard.c`) works on messages; this package reads what people write
(configuration, schema files) and compiles it.
"""
