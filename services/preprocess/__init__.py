"""Need-set in, crops out."""
