"""Pure knowledge: geometry, contours, phases, crops, signatures, nomogram, report content. No I/O of any kind."""
