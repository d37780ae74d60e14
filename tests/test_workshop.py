"""The workshop: set-up, stages, serving, and that it starts on a bare and on an old Python."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import normcourse.__main__ as front
from normcourse.workshop import WORDS, commands, console, environment, serve, stages
from normcourse.workshop.console import PlainMeter, Trouble

Install = Callable[..., None]


# --- starting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py"])
def test_the_front_door_is_readable_by_an_old_python(root: Path, name: str) -> None:
    """Otherwise an old Python shows a syntax error instead of our line."""
    source = (root / "normcourse" / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))


def test_an_old_python_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert front.main() == 1
    message = capsys.readouterr().err
    assert "needs Python 3.11 or newer; this is Python 3.9" in message
    assert "PYTHON=" in message


def bare(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python without any installed package."""
    command = [sys.executable, "-S", "-E", "-s", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)


def test_a_bare_python_can_start_the_workshop(root: Path) -> None:
    modules = ("commands", "console", "environment", "notebooks", "execute", "book", "stages")
    code = f"from normcourse.workshop import {', '.join(modules)}, serve"
    code += "\nimport sys; print(sorted({'numpy', 'rich', 'nbformat', 'yaml'} & set(sys.modules)))"
    done = bare(root, "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_bare_python_shows_the_help_of_each_command(root: Path) -> None:
    done = bare(root, "-m", "normcourse", "course", "--help")
    assert done.returncode == 0
    assert "--port" in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_alone_prints_what_can_be_made(root: Path) -> None:
    done = subprocess.run(["make"], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert [w for w in WORDS if not re.search(rf"^make {w} ", done.stdout, re.MULTILINE)] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize("there", [True, False], ids=["old", "absent"])
def test_make_names_a_python_that_will_not_do(root: Path, tmp_path: Path, there: bool) -> None:
    python = tmp_path / "python3.9"
    if there:
        python.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit 0\nexit 1\n')
        python.chmod(0o755)
    command = ["make", "course", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stderr
    assert str(python) in done.stderr


# --- set-up --------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with just what a set-up looks at."""
    (tmp_path / "requirements.txt").write_text(
        f"# pins\nnumpy==1.0  # numbers\n{environment.LIGHT_END}\ntorch==2.0 # nets\n"
    )
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("scipy==1.0\n")
    return tmp_path


class Installer:
    """Stands for venv and pip: makes the file a venv has, counts, and can fail in the middle."""

    def __init__(self, root: Path) -> None:
        self.root, self.modes, self.broken = root, list[str](), False

    def make_venv(self, root: Path, python: Path) -> None:
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    def install(self, root: Path, python: Path, *, light: bool, env: object) -> None:
        assert not environment.is_ready(self.root, light=True, env={})  # nothing promised yet
        self.modes.append("light" if light else "full")
        if self.broken:
            raise Trouble("no network")


@pytest.fixture
def installer(project: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    fake = Installer(project)
    monkeypatch.setattr(environment, "_make_venv", fake.make_venv)
    monkeypatch.setattr(environment, "_install", fake.install)
    return fake


def test_a_second_set_up_does_nothing(project: Path, installer: Installer) -> None:
    first = environment.ensure(project, env={})
    assert environment.ensure(project, env={}) == first == environment.venv_python(project)
    assert installer.modes == ["full"]


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "pyproject.toml"])
def test_changed_requirements_are_installed(project: Path, installer: Installer, name: str) -> None:
    environment.ensure(project, env={})
    (project / name).write_text((project / name).read_text() + "\n# more\n")
    environment.ensure(project, env={})
    assert installer.modes == ["full", "full"]


def test_a_light_environment_grows_and_a_full_one_serves_light(
    project: Path, installer: Installer
) -> None:
    for light in (True, True, False, True):
        environment.ensure(project, light=light, env={})
    assert installer.modes == ["light", "full"]


def test_an_interrupted_set_up_is_repaired(project: Path, installer: Installer) -> None:
    environment.ensure(project, light=True, env={})
    installer.broken = True
    with pytest.raises(Trouble, match="no network"):
        environment.ensure(project, env={})
    assert not environment.is_ready(project, light=True, env={})  # half of it may be there
    installer.broken = False
    environment.ensure(project, env={})
    assert installer.modes == ["light", "full", "full"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mode": "full", "fingerprint": 1}'])
def test_a_broken_stamp_is_no_stamp(project: Path, installer: Installer, text: str) -> None:
    environment.ensure(project, env={})
    (project / ".venv" / "normcourse.json").write_text(text)
    assert not environment.is_ready(project, light=False, env={})


def test_an_environment_that_was_moved_is_made_anew(
    project: Path, installer: Installer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The scripts in it and the editable install hold absolute paths."""
    environment.ensure(project, env={})
    moved = shutil.copytree(project, tmp_path_factory.mktemp("moved") / "course")
    assert not environment.is_ready(moved, light=False, env={})


def test_without_venv_the_running_python_is_used(project: Path, installer: Installer) -> None:
    env = {"NORMCOURSE_NO_VENV": "1"}
    assert environment.ensure(project, env=env) == Path(sys.executable)
    assert environment.ensure(project, env=env) == Path(sys.executable)
    assert installer.modes == ["full"]
    assert not (project / ".venv").exists()


def test_a_folder_that_is_no_environment_is_replaced(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".venv").mkdir()
    (project / ".venv" / "half").touch()
    made = list[Path]()
    monkeypatch.setattr(environment.venv, "create", lambda folder, with_pip: made.append(folder))
    environment._make_venv(project, environment.venv_python(project))
    assert made == [project / ".venv"]
    assert not (project / ".venv" / "half").exists()


def test_python_without_venv_names_the_package(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(folder: Path, with_pip: bool) -> None:
        folder.mkdir()
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(environment.venv, "create", create)
    with pytest.raises(Trouble, match="apt-get install python3-venv"):
        environment._make_venv(project, environment.venv_python(project))
    assert not (project / ".venv").exists()


def test_light_requirements_leave_torch_out(project: Path, root: Path) -> None:
    assert environment.requirements(project, light=True) == ["numpy==1.0"]
    assert environment.requirements(project, light=False) == ["numpy==1.0", "torch==2.0"]
    real = environment.requirements(root, light=True)
    assert any(line.startswith("numpy==") for line in real)
    assert not any(line.startswith(("torch", "pytest")) for line in real)


def test_constraints_hold_what_the_requirements_pin(root: Path) -> None:
    pins = environment.requirements(root, light=False)
    constraints = (root / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    normal = {line.replace("_", "-") for line in constraints}
    pins = [pin.partition(";")[0].strip() for pin in pins]
    missing = [pin for pin in pins if pin.lower().replace("_", "-") not in normal]
    assert missing == ["torch==2.13.0"], "PyTorch alone has builds of its own"


def test_pip_is_asked_for_the_exact_pins_and_the_named_index(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[str, ...]]()

    def pip(root: Path, python: Path, title: str, *words: str) -> None:
        listed = [Path(w).read_text() for w in words if w.endswith("requirements.txt")]
        asked.append((*words, *listed))

    monkeypatch.setattr(environment, "_pip", pip)
    env = {"TORCH_INDEX": "https://wheels.invalid/cpu"}
    environment._install(project, Path("python"), light=False, env=env)
    assert "torch==2.0\n" in asked[0][-1]
    assert asked[0][2:4] == ("-c", "constraints.txt")
    assert asked[0][4:6] == ("--extra-index-url", "https://wheels.invalid/cpu")
    assert asked[1] == ("--no-deps", "-e", ".")


def test_a_failing_pip_is_explained_in_a_few_lines(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program in the place of pip, so that the reading of its output is tested too."""
    fake = project / "python"
    fake.write_text(
        "#!/bin/sh\necho 'Collecting numpy==1.0 (from -r requirements.txt (line 1))'\n"
        "echo 'ERROR: No matching distribution found for numpy==1.0' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    with pytest.raises(Trouble) as caught:
        environment._pip(project, fake, "Installing what the course needs", "numpy==1.0")
    assert "No matching distribution found for numpy==1.0" in str(caught.value)
    assert "network" in str(caught.value)
    (log,) = (project / "_build" / "log").iterdir()
    assert str(log) in str(caught.value)
    assert "Collecting numpy==1.0\n" in capsys.readouterr().out


def test_trouble_ends_a_command_with_one_and_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ensure(root: Path, *, light: bool) -> Path:
        raise Trouble("no network")

    monkeypatch.delenv(commands.INSIDE, raising=False)
    monkeypatch.setattr(commands, "ensure", ensure)
    assert commands.main(["course"]) == 1
    assert "no network" in capsys.readouterr().out


# --- progress ------------------------------------------------------------------------------------


def test_progress_in_a_pipe_is_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "HEARTBEAT", 0.0)
    with PlainMeter("Running", 2) as display:
        display.show("one")
        display.step("one done")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Running ..."
    assert lines[1].startswith("  [0/2] one ... ")  # the sign of life
    assert lines[2] == "  [1/2] one done"
    assert lines[3].startswith("Running: done in ")


def test_a_program_that_is_quiet_shows_signs_of_life(tmp_path: Path) -> None:
    idle, lines = list[int](), list[str]()
    code = console.stream(
        [sys.executable, "-c", "import time; time.sleep(1.5); print('héllo'); raise SystemExit(3)"],
        cwd=tmp_path,
        log=tmp_path / "log" / "out.txt",
        on_line=lines.append,
        on_idle=lambda: idle.append(1),
        env={"PYTHONIOENCODING": "utf-8"},
    )
    assert (code, lines) == (3, ["héllo"])
    assert idle
    assert (tmp_path / "log" / "out.txt").read_text(encoding="utf-8") == "héllo\n"


# --- serving -------------------------------------------------------------------------------------


def test_a_port_in_use_gives_the_next_free_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: object, poll_interval: float) -> None:
        raise KeyboardInterrupt

    with serve.bind(tmp_path, 0) as first:
        taken = first.server_address[1]
        monkeypatch.setattr(serve.Server, "serve_forever", interrupted)
        serve.serve(tmp_path, taken)  # Ctrl-C ends it without an exception
    said = capsys.readouterr().out
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
    assert found is not None
    assert int(found[1]) > taken
    assert f"Port {taken} is in use; taking {found[1]}." in said


def test_an_impossible_port_is_named(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="PORT=70000"):
        serve.bind(tmp_path, 70000)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", "text/html"),
        ("worker.mjs", "text/javascript"),
        ("numpy.wasm", "application/wasm"),
        ("data.json", "application/json"),
    ],
)
def test_files_are_served_with_the_type_a_browser_insists_on(
    tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_text("x")
    with serve.bind(tmp_path, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}/{name}"
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert answer.headers.get_content_type() == kind
                assert answer.read() == b"x"
        finally:
            server.shutdown()
            thread.join()


# --- make test -----------------------------------------------------------------------------------


def stage(name: str, status: str, *needs: str, ran: list[str]) -> stages.Stage:
    def action(root: Path) -> stages.Outcome:
        ran.append(name)
        if status == "trouble":
            raise Trouble("broken\nin detail")
        return stages.Outcome(status, f"about {name}")

    return stages.Stage(name, "a title", action, needs)


def test_all_stages_run_but_those_that_need_a_failed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = list[str]()
    chosen = [
        stage("lint", stages.FAILED, ran=ran),
        stage("book", "trouble", ran=ran),
        stage("pages", stages.PASSED, "book", ran=ran),
        stage("units", stages.PASSED, ran=ran),
    ]
    assert stages.run_stages(tmp_path, chosen) is False
    assert ran == ["lint", "book", "units"]
    table = capsys.readouterr().out.partition("Summary")[2]
    rows = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    assert list(rows) == ["lint", "book", "pages", "units", "total"]
    assert "broken" in rows["book"]
    assert "not run: needs book" in rows["pages"]
    assert "about units" in rows["units"]
    assert "FAILED: lint, book, pages" in rows["total"]


def test_a_skipped_stage_fails_nothing(tmp_path: Path) -> None:
    ran = list[str]()
    chosen = [stage("units", stages.PASSED, ran=ran), stage("browser", stages.SKIPPED, ran=ran)]
    assert stages.run_stages(tmp_path, chosen) is True


def test_browser_tests_are_skipped_with_a_reason_without_chromium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests" / "browser").mkdir(parents=True)
    monkeypatch.delenv("NORMCOURSE_CHROMIUM", raising=False)
    monkeypatch.setattr(stages.shutil, "which", lambda name: None)
    outcome = stages.browser(tmp_path)
    assert outcome.status == stages.SKIPPED
    assert "Chromium" in outcome.detail


@pytest.mark.parametrize(
    ("code", "line", "status"),
    [
        (0, "====== 3 passed in 0.12s ======", stages.PASSED),
        (1, "1 failed, 2 passed in 0.12s", stages.FAILED),
        (5, "no tests ran in 0.01s", stages.FAILED),
    ],
)
def test_the_closing_line_of_pytest_reaches_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, line: str, status: str
) -> None:
    monkeypatch.setattr(stages, "_python", lambda root, *words: (code, f"....\n{line}\n"))
    assert stages.units(tmp_path) == stages.Outcome(status, line.strip("= "))


def test_an_unknown_stage_is_named(
    monkeypatch: pytest.MonkeyPatch, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(commands.INSIDE, str(root))
    assert commands.main(["test", "--only", "lint,unit"]) == 1
    assert "no stage unit; there are lint, types, units" in capsys.readouterr().out


# --- one place for each version ------------------------------------------------------------------


def test_pre_commit_uses_the_versions_of_requirements(root: Path) -> None:
    pins = set(environment.requirements(root, light=False))
    text = (root / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    used = re.findall(r"additional_dependencies: \[(.*)\]", text)
    assert len(used) == 3
    assert [pin for pin in used if pin not in pins] == []


def test_every_requirement_is_pinned_and_explained(root: Path) -> None:
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    form = r"""[\w.-]+==[\w.]+(; sys_platform == "\w+")? +# \S.*"""
    odd = [line for line in wanted if not re.fullmatch(form, line)]
    assert odd == []


def test_the_ranges_of_the_package_hold_the_pins(root: Path) -> None:
    """A pin outside the range of pyproject.toml would test something nobody else installs."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    ranges = [Requirement(line) for line in sum(extras, project["dependencies"])]
    lines = environment.requirements(root, light=False)
    pins = dict(line.partition(";")[0].strip().split("==") for line in lines)
    elsewhere = {"normcourse", "flax"}  # Flax is compared where somebody has installed it
    wanted = [r for r in ranges if r.name not in elsewhere]
    assert [str(r) for r in wanted if r.name not in pins or pins[r.name] not in r.specifier] == []


def test_continuous_integration_runs_the_same_script(root: Path) -> None:
    workflow = (root / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "run: bash .ci/run" in workflow
    script = root / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert re.search(r"^exec make test\b", text, re.MULTILINE)
    assert subprocess.run(["bash", "-n", str(script)], timeout=10).returncode == 0


@pytest.fixture
def machine(root: Path, tmp_path: Path) -> Path:
    """A clone with nothing on the path but a shell, Python and an apt-get that writes down."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(root / ".ci" / "run", tmp_path / ".ci" / "run")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "git", "id"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    (programs / "python3").symlink_to(sys.executable)
    program(programs / "apt-get", 'echo "apt-get $*"; [ -z "${APT_FAILS:-}" ]')
    program(programs / "sudo", '[ "$1" = -n ] && shift; [ "$1" = "true" ] || exec "${@:2}"')
    return tmp_path


def program(path: Path, text: str) -> None:
    """A small shell script that stands for a program."""
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(0o755)


def ci_run(machine: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(machine / "bin" / "bash"), ".ci/run"],
        cwd=machine,
        env={"PATH": str(machine / "bin"), "CI": "true", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_ci_installs_what_is_missing_and_only_that(machine: Path) -> None:
    program(machine / "bin" / "make", 'echo "make $*"')
    done = ci_run(machine)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1] == "apt-get update -q"
    assert lines[2].startswith("apt-get install -y ")
    assert lines[2].endswith(" chromium fonts-liberation fonts-dejavu-core bubblewrap")
    assert lines[3] == "make test PYTHON=python3"
    assert "No Chromium" in done.stderr  # it was not really installed


def test_ci_installs_nothing_where_all_is_there(machine: Path) -> None:
    program(machine / "bin" / "make", 'echo "make $*"')
    program(machine / "bin" / "chromium", "")
    program(machine / "bin" / "bwrap", "")
    done = ci_run(machine)
    assert (done.returncode, done.stdout) == (0, "make test PYTHON=python3\n")
    assert done.stderr == ""


def test_ci_goes_on_without_a_browser_and_fails_as_its_tests_do(machine: Path) -> None:
    program(machine / "bin" / "make", 'echo "make $*"; exit 7')
    done = ci_run(machine, APT_FAILS="1")
    assert done.returncode == 7
    assert "could not install" in done.stderr
    assert done.stdout.endswith("make test PYTHON=python3\n")


def test_ci_fails_without_make(machine: Path) -> None:
    done = ci_run(machine, APT_FAILS="1")
    assert done.returncode != 0
    assert "Missing here: make" in done.stdout


def test_words_of_the_makefile_are_those_of_the_workshop(root: Path) -> None:
    text = (root / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^WORDS := (.*)$", text, re.MULTILINE)
    assert found is not None
    assert sorted(found[1].split()) == sorted(WORDS)


def test_stamp_is_json(project: Path, installer: Installer) -> None:
    environment.ensure(project, env={})
    stamp = json.loads((project / ".venv" / "normcourse.json").read_text(encoding="utf-8"))
    assert stamp == {"mode": "full", "fingerprint": environment.fingerprint(project)}
