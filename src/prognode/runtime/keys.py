"""Where things lie in the object store. Every part is a digest, a case id or one of our own UIDs."""

from __future__ import annotations


def crop_key(case_id: str, input_digest: str) -> str:
    """The crops of one case with one set of inputs."""
    return f"crops/{case_id}/{input_digest}.npz"


def features_key(crops: str, extractor_sha256: str) -> str:
    """The features of those crops by one extractor."""
    return f"{crops.removesuffix('.npz')}.{extractor_sha256[:16]}.npy"


def report_key(case_id: str, sop_instance_uid: str, suffix: str) -> str:
    """One of our own reports; its UID is ours, so it holds digits and dots only."""
    return f"reports/{case_id}/{sop_instance_uid}.{suffix}"
