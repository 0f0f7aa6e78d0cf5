"""Composition roots: the node and its command line."""
