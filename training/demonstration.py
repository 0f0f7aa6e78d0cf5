"""The demonstration recipe, made by the laboratory from its synthetic cohort (``make lab``), and the network it belongs to.

It shows the machinery at work and says in every output that it was trained on patients who never were. The network has
random weights from a seed, so that everybody can make the same one without a download.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from prognode.adapters.keras_weights import random_weights
from prognode.adapters.resnet50 import build_model
from prognode.errors import RecipeMismatch

JSON = dict[str, Any]
NETWORK_SEED = 1


def demonstration_document() -> JSON:
    """The recipe as it lies in the package."""
    document: JSON = json.loads((files("training") / "demonstration_recipe.json").read_text(encoding="utf-8"))
    return document


def write_demonstration_network(path: Path) -> None:
    """Write the network whole or not at all, unless it is there already.

    Raises RecipeMismatch where this version of the onnx library writes other bytes than the recipe names.
    """
    wanted = demonstration_document()["extractor"]["sha256"]
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == wanted:
        return
    model = build_model(random_weights(NETWORK_SEED))
    made = hashlib.sha256(model).hexdigest()
    if made != wanted:
        raise RecipeMismatch(
            f"the demonstration network made here is {made}, the demonstration recipe belongs to {wanted}: install the "
            "locked versions (requirements.lock), or make the recipe again with `make lab`"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(model)
    part.replace(path)
