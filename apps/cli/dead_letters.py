"""``prognode dlq ...``: messages that a service set aside, and what a person decides about them."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.cases import ConfigOption, node_config
from apps.cli.terminal import say, write_json
from prognode.errors import BadRequest
from prognode.ports import JSON, Bus

app = typer.Typer(no_args_is_help=True, help="List, replay and drop dead letters.")

LetterArgument = Annotated[
    str | None, typer.Argument(help="Id of the letter, as `prognode dlq list` prints it.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every letter that is there.")]


@app.command("list")
def list_letters(
    config: ConfigOption = None, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """What was set aside, oldest first: by which service, which fact of which case, and why."""
    letters = _bus(config).dead_letters()
    if as_json:
        write_json({"dead_letters": letters})
        return
    for letter in letters:
        tries = letter["deliveries"]
        say(letter["id"], style="bold")
        say(
            f"  {letter['topic']} of case {letter['key']}, tried {tries} time{'s'[: tries != 1]}: {letter['why']}"
        )
    if not letters:
        say("no dead letters")


@app.command("replay")
def replay(letter: LetterArgument = None, config: ConfigOption = None, every: AllOption = False) -> None:
    """Have a letter handled again, after what it died of is mended."""
    bus = _bus(config)
    for one in _meant(bus, letter, every):
        _require(bus.replay_dead_letter(one["id"]), one["id"])
        say(f"{one['id']}: {one['topic']} of case {one['key']} is handled again")


@app.command("drop")
def drop(letter: LetterArgument = None, config: ConfigOption = None, every: AllOption = False) -> None:
    """Forget a letter; the images it speaks of stay, and `prognode case replay` does its case again."""
    bus = _bus(config)
    for one in _meant(bus, letter, every):
        _require(bus.drop_dead_letter(one["id"]), one["id"])
        say(f"{one['id']}: dropped")


def _bus(config: ConfigOption) -> Bus:
    from apps.outside import bus_of

    return bus_of(node_config(config), "command-line")


def _meant(bus: Bus, letter: str | None, every: bool) -> list[JSON]:
    if (letter is None) != every:
        raise BadRequest("give the id of one letter, or --all; `prognode dlq list` shows them")
    letters = bus.dead_letters()
    found = letters if every else [one for one in letters if one["id"] == letter]
    if not found and not every:
        raise BadRequest(f"there is no dead letter '{letter}'; `prognode dlq list` shows them all")
    return found


def _require(done: bool, letter: str) -> None:
    if not done:
        raise BadRequest(
            f"the dead letter '{letter}' is gone meanwhile; `prognode dlq list` shows what is left"
        )
