"""All tables of a report in its order, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from training.report import (
    tables_baseline,
    tables_hazard_ratios,
    tables_models,
    tables_paper,
    tables_performance,
    tables_prediction,
    tables_risk_groups,
    tables_signatures,
)
from training.report.items import ReportTable
from training.study import Study

ORDER: tuple[Callable[[Study], ReportTable | None], ...] = (
    tables_baseline.flow,
    tables_baseline.left_out,
    tables_baseline.table_1_baseline,
    tables_hazard_ratios.table_2_hazard_ratios,
    tables_hazard_ratios.schoenfeld,
    tables_hazard_ratios.backward_selection,
    tables_signatures.icc,
    tables_signatures.lasso,
    tables_signatures.signature_features,
    tables_models.models,
    tables_models.model_summary,
    tables_performance.table_3_performance,
    tables_performance.concordance_differences,
    tables_performance.optimism,
    tables_prediction.calibration,
    tables_prediction.calibration_summary,
    tables_prediction.roc,
    tables_prediction.brier,
    tables_risk_groups.table_4_risk_groups,
    tables_paper.beside_the_paper,
)


def all_tables(study: Study) -> tuple[ReportTable, ...]:
    """Every table that makes sense of this study; those that need training are absent where there was none."""
    made = (make(study) for make in ORDER)
    return tuple(table for table in made if table is not None)


def write_tables(tables: Iterable[ReportTable], folder: Path) -> list[Path]:
    """Write each table as ``KEY.csv`` (UTF-8, commas, line feeds) into a folder that is there; the files in order.

    The cells are the texts that the report shows. Notes stand in the report's page only: a CSV file is for programs.
    """
    paths = []
    for table in tables:
        path = folder / f"{table.key}.csv"
        path.write_bytes(table.frame.to_csv(index=False, lineterminator="\n").encode())
        paths.append(path)
    return paths
