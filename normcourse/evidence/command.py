"""The commands ``normcourse evidence list | run | show`` as typed."""

from __future__ import annotations

import os
from typing import Annotated

import typer

evidence = typer.Typer(
    help="What is claimed about normalization, and what was measured.\n\n"
    "Examples: `normcourse evidence list --status refuted`, `normcourse evidence show 70`, "
    "`normcourse evidence run --jobs 2`.",
)
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@evidence.callback(invoke_without_command=True)
def _main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@evidence.command("list")
def list_(
    chapter: Annotated[
        str, typer.Option(metavar="NAME", help="Of this chapter: 5, or why_batch_norm_works.")
    ] = "",
    status: Annotated[
        str,
        typer.Option(
            metavar="WORD", help="established, “holds under conditions”, contested or refuted."
        ),
    ] = "",
    text: Annotated[str, typer.Option(metavar="WORDS", help="That hold these words.")] = "",
    as_json: AsJson = False,
) -> int:
    """List the claims. Example: `normcourse evidence list --chapter 5 --status contested`."""
    from normcourse.evidence.desk import list_claims

    return list_claims(chapter=chapter, status=status, text=text, as_json=as_json)


@evidence.command()
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Of the claim.")],
    as_json: AsJson = False,
) -> int:
    """Show a claim, what was found, and by which rule. Example: `normcourse evidence show 70`."""
    from normcourse.evidence.desk import show_claim

    return show_claim(number, as_json=as_json)


@evidence.command()
def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="Experiments; all if none is named.", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Seeds at a time, each on one core.", show_default="all cores"),
    ] = os.cpu_count() or 1,
    force: Annotated[
        bool, typer.Option("--force", help="Also those whose record is fresh.")
    ] = False,
) -> int:
    """Run experiments over all seeds and record them; fresh records are left alone.

    Interrupted, it goes on where it stopped when called again. Example: `normcourse evidence run
    learning_rates --jobs 2`.
    """
    from normcourse.evidence.desk import run_experiments

    return run_experiments(names or [], jobs=jobs, force=force)


@evidence.command("repeat")
def repeat_(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="Experiments; all if none is named.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which one of the record.")] = 0,
    as_json: AsJson = False,
) -> int:
    """Run one recorded seed anew: are its numbers the same here, what would all seeds take?

    Leaves the records alone; with --json a line per experiment. Example: `normcourse evidence
    repeat learning_rates --seed 3`.
    """
    from normcourse.evidence.desk import repeat_experiments

    return repeat_experiments(names or [], seed=seed, as_json=as_json)
