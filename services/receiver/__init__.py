"""DICOM in, durable; and the moment at which a case can start."""
