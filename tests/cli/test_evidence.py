"""``normcourse evidence``: lists, shows and runs, and says in one line what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from normcourse.evidence import desk, records
from normcourse.experiments import Experiment, Row

from .conftest import Cli


def quick(seed: int) -> list[Row]:
    return [{"value": seed}]


QUICK = Experiment("quick", "?", quick, {}, {})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of records, in a package with one experiment."""
    monkeypatch.setattr(records, "_FOLDER", tmp_path / "results")
    monkeypatch.setattr(desk, "names", lambda: ["quick"])
    monkeypatch.setattr(desk, "load", lambda name: {"quick": QUICK}[name])
    return tmp_path / "results"


def test_help_with_examples(cli: Cli) -> None:
    for words in (("evidence",), ("evidence", "--help")):
        done = cli(*words)
        assert done.code == 0
        assert "normcourse evidence list --status refuted" in " ".join(done.out.split())
    for command in ("list", "show", "run", "repeat"):
        assert f"Example: `normcourse evidence {command}" in " ".join(
            cli("evidence", command, "--help").out.split()
        )
    assert "  evidence " in cli("--help").out


class TestList:
    def test_of_a_chapter_and_a_status(self, cli: Cli) -> None:
        done = cli("evidence", "list", "--chapter", "2", "--status", "refuted")
        assert done.code == 0
        numbers = [int(line[:3]) for line in done.out.splitlines() if line[:3].strip().isdigit()]
        assert numbers[:3] == [2, 9, 13]
        assert "14  With gamma = 1 and beta = 0 the layer starts as the identity." in done.out
        assert done.out.rstrip().endswith("refuted.")

    def test_as_json(self, cli: Cli) -> None:
        done = cli("evidence", "list", "--text", "batch size of 1", "--json")
        (claim,) = json.loads(done.out)
        assert (claim["number"], claim["status"]) == (31, "holds under conditions")
        assert claim["findings"][0]["decision"] == "batch_of_two"

    def test_nothing_fits(self, cli: Cli) -> None:
        assert cli("evidence", "list", "--text", "no such words").out == "0 claims.\n"


class TestShow:
    def test_everything_about_a_claim(self, cli: Cli) -> None:
        done = cli("evidence", "show", "14")
        assert done.code == 0
        text = " ".join(done.out.split())
        assert "14. Often said: With gamma = 1 and beta = 0" in text
        assert "Status: refuted. Rests on: derivation." in text
        assert "Chapter: 02_batch_norm, “Scale and shift” Sources: ioffe2015batch" in text

    def test_numbers_of_a_run_with_their_spread(self, cli: Cli) -> None:
        (finding, *_) = json.loads(cli("evidence", "show", "27", "--json").out)["findings"]
        assert finding["rule"].startswith("At inference, is BatchNorm a fixed affine map")
        for effect in finding["effects"]:
            assert effect["low"] <= effect["median"] <= effect["high"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("list --chapter 17", "no chapter '17'; there are 01_covariate_shift"),
        ("list --status good", "no status 'good'; there are established, holds under conditions"),
        ("show 67", "no claim 67; there are 80"),
        ("show seven", "Invalid value for 'NUMBER'"),
        ("run dpeth", "no experiment 'dpeth'; there are "),
        ("run --jobs 0", "Invalid value for '--jobs'"),
        ("repeat dpeth", "no experiment 'dpeth'; there are "),
        ("repeat --seed -1", "Invalid value for '--seed'"),
        ("lsit", "No such command 'lsit'"),
    ],
)
def test_bad_input_gets_one_line(cli: Cli, words: str, message: str) -> None:
    done = cli("evidence", *words.split())
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


class TestRun:
    def test_records_and_leaves_alone_what_is_fresh(self, cli: Cli, folder: Path) -> None:
        done = cli("evidence", "run", "--jobs", "1")
        assert done.code == 0
        assert "quick: recorded, 10 seeds, 0.0 s by the clock" in done.out
        assert "1 recorded, their seeds add up to 0.0 s." in done.out
        before = (folder / "quick.json").stat().st_mtime_ns
        assert cli("evidence", "run").out == "quick: fresh, took 0.0 s\n"
        assert (folder / "quick.json").stat().st_mtime_ns == before
        assert "quick: recorded" in cli("evidence", "run", "quick", "--force", "--jobs", "1").out
        assert (folder / "quick.json").stat().st_mtime_ns != before

    def test_interrupted_it_says_how_to_go_on(
        self, cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(desk, "run_full", interrupted)
        done = cli("evidence", "run")
        assert done.code == 130
        assert "what is finished is kept. The same command goes on." in done.err

    def test_another_process_at_work(
        self, cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*args: object, **options: object) -> None:
            raise records.Busy("quick: another process is recording it; wait for it.")

        monkeypatch.setattr(desk, "run_full", busy)
        done = cli("evidence", "run")
        assert done.code == 1
        assert "normcourse evidence: quick: another process is recording it" in done.err


class TestRepeat:
    def test_says_whether_the_numbers_are_the_same_and_what_all_would_take(
        self, cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cli("evidence", "run", "--jobs", "1").code == 0
        done = cli("evidence", "repeat")
        assert done.code == 0
        assert "quick: same numbers; 0.0 s (recorded 0.0 s)" in done.out
        assert "1 repeated in 0.0 s; all their seeds would take about 0.0 s of one core" in done.out
        other = Experiment("quick", "?", lambda seed: [{"value": seed + 1}], {}, {})
        monkeypatch.setattr(desk, "load", lambda name: other)
        assert "quick: differs: value by 25 %" in cli("evidence", "repeat", "--seed", "3").out
        line = json.loads(cli("evidence", "repeat", "quick", "--seed", "3", "--json").out)
        assert (line["differs"], line["seeds"]) == ({"value": 0.25}, 10)

    def test_without_a_record_it_names_the_command(self, cli: Cli, folder: Path) -> None:
        assert cli("evidence", "repeat").out.startswith("0 repeated")
        done = cli("evidence", "repeat", "quick")
        assert (done.code, done.out) == (1, "")
        assert "make one by `normcourse evidence run quick`" in done.err

    def test_a_seed_that_was_not_recorded(self, cli: Cli, folder: Path) -> None:
        cli("evidence", "run", "--jobs", "1")
        done = cli("evidence", "repeat", "--seed", "10")
        assert done.code == 2
        assert "quick: no seed 10 in the record; there are 0, 1" in done.err
