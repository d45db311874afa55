"""The paper and the proof: data readers, recipes, tables and benchmarks; run from a checkout."""
