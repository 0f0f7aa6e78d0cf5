"""Past-tense facts that travel between services; their only source of truth is ``schemas/events``."""
