"""``prognode db ...``: the schema of an index in PostgreSQL, which no service changes on its own."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.cases import ConfigOption, node_config, open_index
from apps.cli.terminal import progress, say
from prognode.errors import BadRequest

app = typer.Typer(
    no_args_is_help=True,
    help="Upgrade, downgrade or show the schema of an index in PostgreSQL; compare an index with its objects.",
)

UrlOption = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="PROGNODE_INDEX_URL",
        help="postgresql://user:password@host:port/name",
        show_default=False,
    ),
]


@app.command("upgrade")
def upgrade(url: UrlOption = "") -> None:
    """Bring the data base to the schema of this version; what it holds stays. Harmless when it is there already."""
    from prognode.adapters import index_schema

    say(f"the index has schema {index_schema.upgrade(_required(url))}")


@app.command("downgrade")
def downgrade(
    revision: Annotated[str, typer.Argument(help="The schema to go back to; `base` removes every table.")],
    url: UrlOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Removing everything is meant.")] = False,
) -> None:
    """Go back to an earlier schema, before an older version of this program is run again."""
    from prognode.adapters import index_schema

    if revision == index_schema.NOTHING and not yes:
        raise BadRequest(
            "`base` removes every table with all that the index holds; add --yes if that is meant"
        )
    say(f"the index has schema {index_schema.downgrade(_required(url), revision)}")


@app.command("current")
def current(url: UrlOption = "") -> None:
    """Which schema the data base has, and which one this version needs; exit 1 where these differ."""
    from prognode.adapters import index_schema

    found, needed = index_schema.current(_required(url))
    say(f"the index has schema {found}, this version needs {needed}")
    raise SystemExit(int(found != needed))


@app.command("verify")
def verify(config: ConfigOption = None) -> None:
    """Read every object that the index names and compare it by its SHA-256; exit 1 where one is missing or another."""
    from apps.outside import objects_of
    from prognode.runtime.verification import faults

    index = open_index(config)
    studies = len(index.studies())
    with progress() as bar:
        task = bar.add_task("studies", total=studies)
        found = list(faults(index, objects_of(node_config(config)), lambda _study: bar.advance(task)))
    for fault in found:
        say(f"{fault.why}: {fault.sop_instance_uid} of study {fault.study_instance_uid}")
    say(f"{studies} studies read, {len(found)} objects missing or changed")
    raise SystemExit(int(bool(found)))


def _required(url: str) -> str:
    if not url:
        raise BadRequest("no data base is named; give --url or set PROGNODE_INDEX_URL")
    return url
