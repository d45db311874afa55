"""Dumb views: each shows what it is told and emits what the annotator intends."""
