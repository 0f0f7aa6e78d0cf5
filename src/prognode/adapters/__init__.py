"""Ports made real: each module names its technology."""
