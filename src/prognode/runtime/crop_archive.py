"""What preprocess hands to scoring: both crops, the image behind each contour, and what was found, as one object."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prognode.domain.prognosis import Phase
from prognode.domain.report import PhaseFinding
from prognode.domain.report_json import finding_from_json, finding_to_json

PHASES: tuple[Phase, Phase] = ("arterial", "venous")


@dataclass(frozen=True)
class CropArchive:
    """The result of preprocessing one case."""

    findings: tuple[PhaseFinding, PhaseFinding]
    """Arterial, venous."""
    crops_hu: NDArray[np.float32]
    """(2, 3, 224, 224): arterial, venous."""
    images_hu: tuple[NDArray[np.float32], NDArray[np.float32]]
    """(rows, columns) of the image with the largest cross-section, arterial and venous."""
    accepted_at: str
    """YYYYMMDDHHMMSS at which the last of the inputs was accepted."""
    remarks: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The same archive gives the same bytes."""
        head = {
            "findings": [finding_to_json(finding) for finding in self.findings],
            "accepted_at": self.accepted_at,
            "remarks": list(self.remarks),
        }
        buffer = io.BytesIO()
        np.savez(
            buffer,
            head=np.frombuffer(json.dumps(head, sort_keys=True).encode(), np.uint8),
            crops_hu=self.crops_hu,
            arterial_hu=self.images_hu[0],
            venous_hu=self.images_hu[1],
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> CropArchive:
        """Inverse of :meth:`to_bytes`."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            head = json.loads(archive["head"].tobytes())
            arterial, venous = (finding_from_json(finding) for finding in head["findings"])
            return cls(
                findings=(arterial, venous),
                crops_hu=archive["crops_hu"],
                images_hu=(archive["arterial_hu"], archive["venous_hu"]),
                accepted_at=head["accepted_at"],
                remarks=tuple(head["remarks"]),
            )
