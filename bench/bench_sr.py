"""How long a report takes, beside the same content built with highdicom, in one run.

``python bench/bench_sr.py`` prints medians in milliseconds: building and writing one SR class, all three classes, the
figure, and the tree of the same numbers by highdicom 0.28 written by pydicom.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import highdicom.sr as hd
import numpy as np
from highdicom.sr import CodedConcept

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from sr_samples import sample_images, sample_model, sample_report, sample_sources

from prognode.adapters.figure import draw_figure
from prognode.dicom import codes
from prognode.dicom.dataset_encoding import encode
from prognode.dicom.secondary_capture import build_secondary_capture
from prognode.dicom.sr import build_sr, sr_variants
from prognode.dicom.sr_check import expected_numbers
from prognode.dicom.sr_tree import sentences
from prognode.domain.identity import device_uid, report_uid, series_uid, tracking_uid
from prognode.domain.report_json import report_to_json

RUNS = 15


def _median_ms(work: Callable[[], object], runs: int = RUNS) -> float:
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def _measurement(name: str, value: float, algorithm: hd.AlgorithmIdentification) -> hd.Measurement:
    return hd.Measurement(
        name=CodedConcept(name, codes.SCHEME, name),
        value=value,
        unit=CodedConcept(*codes.PERCENT),
        derivation=CodedConcept(*codes.ESTIMATED),
        algorithm_id=algorithm,
    )


def _group(report, finding, numbers, sources) -> hd.PlanarROIMeasurementsAndQualitativeEvaluations:
    outline = finding.outlines_px[0]
    source = sources[finding.plane.sop_instance_uid]
    algorithm = hd.AlgorithmIdentification(
        name=report.recipe.name,
        version=report.recipe.version,
        family=CodedConcept(*codes.ARTIFICIAL_INTELLIGENCE),
    )
    return hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(
            uid=tracking_uid(
                report.study_instance_uid, finding.roi.sop_instance_uid, finding.roi.number, finding.phase
            ),
            identifier=finding.phase,
        ),
        referenced_region=hd.ImageRegion(
            graphic_type=hd.GraphicTypeValues.POLYLINE,
            graphic_data=np.vstack([outline, outline[:1]]),
            source_image=hd.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
        ),
        finding_type=CodedConcept(*codes.NEUROENDOCRINE_TUMOR),
        finding_sites=[hd.FindingSite(CodedConcept(*codes.STOMACH))],
        measurements=[_measurement(name, value, algorithm) for name, value in numbers.items()],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(CodedConcept(*codes.RISK_GROUP), CodedConcept(*codes.RISK["high"]))
        ],
    )


def highdicom_sr(report, sources) -> bytes:
    """The same images, outlines and numbers by highdicom, without sentences and ROI links."""
    observer = hd.ObserverContext(
        observer_type=CodedConcept(*codes.DEVICE),
        observer_identifying_attributes=hd.DeviceObserverIdentifyingAttributes(uid=device_uid(report.recipe)),
    )
    numbers = expected_numbers(report_to_json(report))
    findings = report.findings[::-1]
    images = [sources[name] for finding in findings for name in finding.slice_uids]
    content = hd.MeasurementReport(
        observation_context=hd.ObservationContext(observer_device_context=observer),
        procedure_reported=CodedConcept(*codes.CT_UNSPECIFIED),
        imaging_measurements=[
            _group(report, finding, values, sources)
            for finding, values in zip(findings, numbers, strict=True)
        ],
        title=CodedConcept(*codes.REPORT),
        referenced_images=images,
    )
    document = hd.Comprehensive3DSR(
        evidence=images,
        content=content[0],
        series_number=901,
        series_instance_uid=series_uid("sr", report_uid(report)),
        sop_instance_uid=report_uid(report),
        instance_number=1,
        manufacturer="Prognode",
        is_complete=True,
    )
    buffer = io.BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def main() -> None:
    report, sources, images, model = sample_report(), sample_sources(), sample_images(), sample_model()
    for header in sources.values():  # highdicom needs a file meta of the evidence
        header.ensure_file_meta()
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset = build_sr(report, sources)
    ours = _median_ms(lambda: encode(build_sr(report, sources)))
    theirs = _median_ms(lambda: highdicom_sr(report, sources))
    page = draw_figure(report, images, model)
    header = next(iter(sources.values()))
    rows = {
        "SR built and written": ours,
        "  of which written": _median_ms(lambda: encode(dataset)),
        "SR in three classes": _median_ms(lambda: sr_variants(report, sources)),
        "the same by highdicom and pydicom": theirs,
        "figure drawn": _median_ms(lambda: draw_figure(report, images, model), 5),
        "figure as Secondary Capture": _median_ms(
            lambda: encode(build_secondary_capture(report, header, page.rgb)), 5
        ),
    }
    print(f"{len(sentences(report))} sentences, {len(encode(dataset))} bytes, median of {RUNS} runs")
    for name, milliseconds in rows.items():
        print(f"{name:36s}{milliseconds:8.1f} ms")
    print(f"{'highdicom / ours':36s}{theirs / ours:8.1f}")


if __name__ == "__main__":
    main()
