"""How results are shown: tables, JSON, YAML, JSON lines, JSONPath."""
