"""Measurements, each beside its floor or a named peer in the same run."""
