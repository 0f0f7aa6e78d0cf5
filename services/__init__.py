"""The services: each takes facts or DICOM in and gives facts out, over ports alone."""
