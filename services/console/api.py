"""The console's interface over HTTP: cases, covariates, choices, replays, dead letters. JSON in, JSON out.

It knows no users: whoever reaches it may read and decide. What it answers names studies by UID, as DICOM does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from prognode.errors import BadRequest, Unavailable
from prognode.ports import Bus, Case, Index
from prognode.runtime import case_actions


class Clinical(BaseModel):
    """Covariates of a case; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    ki67_percent: float | None = Field(default=None, description="Ki-67 index, 0 to 100.")
    m_stage: str | None = Field(default=None, description="M0 or M1.")
    longest_diameter_mm: float | None = Field(default=None, description="Instead of the measured one.")


class Choices(BaseModel):
    """What the node may not guess."""

    model_config = ConfigDict(extra="forbid")

    phases: dict[str, str] = Field(
        default_factory=dict, description="Series Instance UID: arterial or venous."
    )
    rois: dict[str, str] = Field(default_factory=dict, description="Phase: ROI object's UID#number.")


def console_api(index: Index, bus: Bus, on_facts: Callable[[], object] = lambda: None) -> FastAPI:
    """The application; ``on_facts`` is called after facts were written to the outbox."""
    app = FastAPI(
        title="Prognode console", description="Research use only.", docs_url="/api/docs", redoc_url=None
    )
    app.add_exception_handler(BadRequest, _refused)
    app.add_exception_handler(Unavailable, _later)
    app.include_router(_cases(index, on_facts))
    app.include_router(_dead_letters(bus))
    return app


async def _refused(_: Request, fault: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(fault)}, status_code=422)


async def _later(_: Request, fault: Exception) -> JSONResponse:
    return JSONResponse({"detail": f"{fault}; try again"}, status_code=503)


def _cases(index: Index, on_facts: Callable[[], object]) -> APIRouter:
    routes = APIRouter(prefix="/api/cases")

    def case(case_id: str) -> Case:
        found = index.case(case_id)
        if found is None:
            raise HTTPException(404, f"no case '{case_id}'")
        return found

    @routes.get("")
    def cases() -> list[dict[str, Any]]:
        """All cases, newest last."""
        return [
            {
                "case_id": one.case_id,
                "study_instance_uid": one.study_instance_uid,
                "state": one.state.value,
                "updated_at": one.updated_at.isoformat(),
                "says": case_actions.headline(one),
            }
            for one in index.cases()
        ]

    @routes.get("/{case_id}")
    def show(case_id: str) -> dict[str, Any]:
        """Everything that is known of one case."""
        return case_actions.describe(index, case(case_id))

    @routes.post("/{case_id}/clinical")
    def clinical(case_id: str, given: Clinical) -> dict[str, Any]:
        """Give covariates; a new report supersedes the one that is out."""
        values = case_actions.set_clinical(index, case(case_id), given.model_dump(exclude_none=True))
        on_facts()
        return values

    @routes.post("/{case_id}/choices")
    def choices(case_id: str, given: Choices) -> dict[str, Any]:
        """Decide phases and contours; the case is assessed again."""
        return case_actions.choose(index, case(case_id), given.phases, given.rois)

    @routes.post("/{case_id}/replay")
    def replay(case_id: str) -> dict[str, Any]:
        """Do the case again from its stored images."""
        published = case_actions.replay(index, case(case_id))
        on_facts()
        return {"published": published}

    return routes


def _dead_letters(bus: Bus) -> APIRouter:
    routes = APIRouter(prefix="/api/dead-letters")

    @routes.get("")
    def dead_letters() -> list[dict[str, Any]]:
        """What was set aside, oldest first."""
        return bus.dead_letters()

    @routes.post("/{letter_id:path}/replay")
    def replay_letter(letter_id: str) -> dict[str, Any]:
        """Have a letter handled again."""
        if not bus.replay_dead_letter(letter_id):
            raise HTTPException(404, f"no dead letter '{letter_id}'")
        return {"replayed": letter_id}

    @routes.delete("/{letter_id:path}")
    def drop_letter(letter_id: str) -> dict[str, Any]:
        """Forget a letter."""
        if not bus.drop_dead_letter(letter_id):
            raise HTTPException(404, f"no dead letter '{letter_id}'")
        return {"dropped": letter_id}

    return routes
