"""The dispatcher: finished DICOM objects to every configured PACS."""
