"""Golden tests of pipelines: cases beside a spec, run and compared."""
