"""DICOM data sets in memory to domain values and back. Nothing here opens files or sockets."""
