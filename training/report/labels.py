"""What a report calls cohorts, groups and phases, and how it says that its patients never were."""

from __future__ import annotations

from training.cohort import CohortName

COHORT_LABELS: dict[CohortName, str] = {
    "training": "Training cohort",
    "internal": "Internal validation cohort",
    "external": "External validation cohort",
}
GROUP_LABELS = {"low": "Low risk", "high": "High risk"}
SYNTHETIC_MARK = "synthetic data"
SYNTHETIC_NOTE = "Synthetic data: these patients never were. The numbers exercise the program and say nothing about a disease."
