"""Executors and the chain of rounds: neither torch nor Qt."""
