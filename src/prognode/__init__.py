"""The shared core of the prognosis node: what is true of images, contours, recipes and reports.

It knows no service and no transport. Imports run one way:
``runtime -> adapters -> ports -> dicom | events -> domain -> errors``.
"""

__version__ = "0.1.0"
