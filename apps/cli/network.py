"""``prognode echo``, ``prognode send`` and ``prognode check``: try a peer from this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.cases import ConfigOption, open_index
from apps.cli.files import dicom_files
from apps.cli.terminal import progress, say, status
from prognode.adapters.pacs_settings import PacsSettings
from prognode.errors import BadRequest

PeerArgument = Annotated[str, typer.Argument(help="AE@HOST:PORT")]
CallingOption = Annotated[str, typer.Option("--calling", help="AE title to call from.")]


def parse_peer(text: str) -> tuple[str, str, int]:
    """``AE@HOST:PORT`` -> (ae_title, host, port). Raises BadRequest."""
    ae_title, at, address = text.partition("@")
    host, colon, port = address.rpartition(":")
    if not (ae_title and at and host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise BadRequest(
            f"'{text}' is not an address; write AE@HOST:PORT, for example PROGNODE@localhost:11112"
        )
    try:
        host.encode("idna")
    except UnicodeError:
        raise BadRequest(f"'{host}' cannot be a host name; write AE@HOST:PORT") from None
    return ae_title, host, int(port)


def echo(peer: PeerArgument, calling: CallingOption = "PROGNODE-CLI") -> None:
    """C-ECHO: is the peer there, and does it talk to us?"""
    from prognode.adapters.dicom_pacs import DicomPacs

    DicomPacs(peer_settings(peer, calling)).echo()
    say(f"{peer} answers")


def peer_settings(peer: str, calling: str) -> PacsSettings:
    """Settings of a peer that was named on the command line. Raises BadRequest."""
    from pydantic import ValidationError

    ae_title, host, port = parse_peer(peer)
    try:
        return PacsSettings(name=peer, ae_title=ae_title, host=host, port=port, calling_ae_title=calling)
    except ValidationError as fault:
        first = fault.errors()[0]
        what = {"ae_title": ae_title, "calling_ae_title": calling}.get(str(first["loc"][0]), peer)
        raise BadRequest(
            f"'{what}': no AE title; it has 1 to 16 printable characters and no backslash"
        ) from None


def send(
    folder: Annotated[Path, typer.Argument(help="Folder (or file) with DICOM objects.")],
    to: Annotated[str, typer.Option("--to", help="AE@HOST:PORT")],
    calling: CallingOption = "PROGNODE-CLI",
) -> None:
    """C-STORE every DICOM file of a folder; exit 0 only if every one was answered 0x0000."""
    from prognode.adapters.dicom_sender import send_files

    settings = peer_settings(to, calling)
    files = dicom_files([folder])
    with progress() as bar:
        task = bar.add_task(f"sending to {to}", total=len(files))
        faults = send_files(settings, files, lambda: bar.advance(task))
    if faults:
        for fault in faults[1:]:
            print(f"prognode: {fault}", file=sys.stderr)
        raise BadRequest(f"{len(faults)} of {len(files)} files were not stored; first: {faults[0]}")
    say(f"{len(files)} objects stored")


def check(
    peer: PeerArgument,
    console: Annotated[
        str, typer.Option(help="The node's console, http://HOST:PORT; without it its index is looked at.")
    ] = "",
    config: ConfigOption = None,
    deliveries: Annotated[int, typer.Option(min=0, help="So many PACS must have the report.")] = 0,
    limit: Annotated[float, typer.Option(min=1, help="Seconds to wait for the report.")] = 120.0,
    calling: CallingOption = "PROGNODE-CLI",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the synthetic patient; default: another one each time.")
    ] = None,
) -> None:
    """Does the node work? C-ECHO, a synthetic study by C-STORE, and its report.

    That makes a case in the node's index, and a synthetic report in every PACS that the node delivers to.
    """
    from apps.node_check import by_console, by_index, check_node

    settings = peer_settings(peer, calling)
    look = by_console(console) if console else by_index(open_index(config))
    begun = time.monotonic()
    with status("a synthetic study is made, sent, and its report waited for"):
        case = check_node(settings, look, int(time.time()) if seed is None else seed, deliveries, limit, say)
    say(f"case {case['case_id']} is {case['state']}: {case['outcome'].get('says', '')}")
    for one in case["deliveries"]:
        say(f"  {one['destination']}: {one['state']}")
    say(f"the node works ({time.monotonic() - begun:.1f} s); synthetic data, no real patient")
