"""Reading what was handed in: layouts, platforms' names, notebooks, and files that mean harm."""

from __future__ import annotations

import io
import json
import os
import random
import stat
import string
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normcourse.checks import find as find_exercise
from normcourse.grading import submissions, zips
from normcourse.grading.policy import violations
from normcourse.grading.submissions import BadSubmissions, date_in, find, legible
from normcourse.grading.verdict import read_papers
from tests.grading.conftest import RIGHT, Judge, notebook

ZERO = "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    return x\n"


def put(root: Path, **files: str | bytes) -> Path:
    """Write files below a folder; double underscores in a name stand for folders."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def learners(path: Path) -> dict[tuple[str, str], list[str]]:
    """Return the files that were read, by learner and attempt."""
    return {(h.learner, h.attempt): sorted(h.read().files) for h in find(path)}


def test_a_file_a_folder_and_a_zip_for_each_learner(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("work/answers.py", RIGHT)
    put(
        tmp_path,
        alice_dot_ipynb=notebook(RIGHT),
        bob__answers_dot_py=RIGHT,
        bob__helpers_dot_py="A = 1",
        carol_dot_zip=packed.getvalue(),
        dan__attempt1__a_dot_py=ZERO,
        dan__attempt2__a_dot_py=RIGHT,
    )
    assert learners(tmp_path) == {
        ("alice", ""): ["alice.ipynb"],
        ("bob", ""): ["answers.py", "helpers.py"],
        ("carol", ""): ["work/answers.py"],
        ("dan", "attempt1"): ["a.py"],
        ("dan", "attempt2"): ["a.py"],
    }


def test_names_of_canvas_moodle_and_of_a_zip_around_all(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("doejane_4711_99_02_batch_norm.ipynb", notebook(RIGHT))
        archive.writestr("roejim_LATE_4712_98_answers.py", RIGHT)
        archive.writestr("Ann Lee_815_assignsubmission_file/answers.py", RIGHT)
    found = {h.learner: h for h in find(path)}
    assert sorted(found) == ["Ann Lee_815", "doejane_4711", "roejim_4712"]
    assert found["roejim_4712"].marked_late
    assert not found["doejane_4711"].marked_late
    assert list(found["doejane_4711"].read().files) == ["02_batch_norm.ipynb"]


def test_one_learner_with_several_notebooks(tmp_path: Path) -> None:
    put(tmp_path, a_dot_ipynb=notebook(RIGHT), b_dot_ipynb=notebook("x = 1"))
    (handed,) = find(tmp_path, single="me")
    assert (handed.learner, sorted(handed.read().files)) == ("me", ["a.ipynb", "b.ipynb"])


def test_equal_files_have_equal_digests_whatever_the_learner(tmp_path: Path) -> None:
    put(tmp_path, a__x_dot_py=RIGHT, b__x_dot_py=RIGHT, c__x_dot_py=ZERO)
    one, two, three = (handed.read().digest for handed in find(tmp_path))
    assert one == two != three


# --- 56: links, bombs, paths that climb out, files too large ------------------------------------


def test_links_pipes_and_devices_are_left_where_they_are(tmp_path: Path) -> None:
    root = put(tmp_path / "in", bob__a_dot_py=RIGHT)
    secret = tmp_path / "secret.py"
    secret.write_text("SECRET = 1")
    (root / "alice.py").symlink_to("/etc/passwd")
    (root / "bob" / "b.py").symlink_to(secret)
    (root / "bob" / "up").symlink_to(tmp_path)
    os.mkfifo(root / "bob" / "c.py")
    read = {h.learner: h.read() for h in find(root)}
    assert read["alice"].files == {}
    assert any("link" in problem for problem in read["alice"].problems)
    assert list(read["bob"].files) == ["a.py"]
    assert len(read["bob"].problems) == 3


def test_a_link_put_there_after_the_listing_is_not_followed(tmp_path: Path) -> None:
    root = put(tmp_path / "in", bob__a_dot_py=RIGHT)
    (handed,) = find(root)
    (root / "bob" / "a.py").unlink()
    (root / "bob" / "a.py").symlink_to("/etc/passwd")
    assert handed.read().files == {}


def test_zip_bomb_and_climbing_paths(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    with zipfile.ZipFile(root / "eve.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.ipynb", b"\0" * (100 * 2**20))
        archive.writestr("../../climb.py", "x")
        archive.writestr("/abs.py", "x")
        archive.writestr("C:\\x.py", "x")
        link = zipfile.ZipInfo("link.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("ok.py", RIGHT)
    data = (root / "eve.zip").read_bytes()
    lying = data.replace((100 * 2**20).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    (root / "fay.zip").write_bytes(lying)
    (root / "gus.zip").write_bytes(data[:2000])
    for handed in find(root):
        read = handed.read()
        assert set(read.files) <= {"ok.py"}, read.files.keys()
        assert read.problems
    assert not (tmp_path / "climb.py").exists()


def test_a_zip_file_of_many_files_is_opened_a_few_times(tmp_path: Path, monkeypatch) -> None:
    """Each reading of a zip file lists all that it holds: many times many would never end."""
    with zipfile.ZipFile(tmp_path / "eve.zip", "w") as archive:
        for n in range(submissions.MAX_ENTRIES + 1):
            archive.writestr(f"f{n:05}.py", RIGHT if n == 0 else "x")
    with zipfile.ZipFile(tmp_path / "fay.zip", "w") as archive:
        for n in range(submissions.MAX_ENTRIES):
            archive.writestr(f"f{n:05}.py", RIGHT if n == 0 else "x")
    listed: list[str] = []
    usual = zipfile.ZipFile._RealGetContents  # type: ignore[attr-defined]

    def counted(archive: zipfile.ZipFile) -> None:
        listed.append("")
        usual(archive)

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", counted)
    eve, fay = (handed.read() for handed in find(tmp_path))
    assert (eve.files, len(fay.files)) == ({}, submissions.MAX_FILES)
    assert "2001 entries" in eve.problems[0]
    assert "1900 files too many" in fay.problems[0]
    assert len(listed) == 3


def test_a_class_in_one_zip_file_has_it_listed_once(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(30):
            archive.writestr(f"learner{n:02}.py", f"{RIGHT}# {n}\n")
    opened: list[Path] = []
    usual = zips.open_regular

    def counted(path: Path, *more: type) -> object:
        opened.append(path)
        return usual(path, *more)

    monkeypatch.setattr(zips, "open_regular", counted)
    handed = find(path)
    with closing(zips.Archives()) as archives:
        read = [one.read(archives) for one in handed]
    assert [one.files[f"learner{n:02}.py"][-4:].split()[-1] for n, one in enumerate(read)] == [
        str(n).encode() for n in range(30)
    ]
    assert len(opened) == 2  # once to list, once to read


def test_a_zip_file_with_a_list_larger_than_memory_is_worth_is_left_out(
    tmp_path: Path, monkeypatch
) -> None:
    with zipfile.ZipFile(tmp_path / "eve.zip", "w") as archive:
        for n in range(50):
            archive.writestr(f"{'n' * 200}{n}.py", "x")
    assert len(find(tmp_path)[0].read().files) == 50
    monkeypatch.setattr(zips, "MAX_LIST", 10_000)
    (read,) = (handed.read() for handed in find(tmp_path))
    assert read.files == {}
    assert "its list of files takes more than" in read.problems[0]


def test_many_problems_are_told_in_short(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "eve.zip", "w") as archive:
        archive.writestr("a.py", RIGHT)
        for n in range(500):
            archive.writestr(f"../{n}.py", "x")
    (read,) = (handed.read() for handed in find(tmp_path))
    assert list(read.files) == ["a.py"]
    assert len(read.problems) == submissions.MAX_PROBLEMS + 1
    assert read.problems[-1] == "and 470 problems more"


def test_a_notebook_of_200_mb_is_not_read(tmp_path: Path) -> None:
    root = put(tmp_path, ann__a_dot_py=RIGHT)
    with open(root / "ann" / "big.ipynb", "wb") as file:
        file.truncate(200 * 2**20)  # sparse
    read = find(root)[0].read()
    assert list(read.files) == ["a.py"]
    assert "larger than 16 MB" in read.problems[0]


def test_ten_thousand_files_and_deep_folders_are_cut(tmp_path: Path) -> None:
    root = put(tmp_path, ann__a_dot_py=RIGHT, zoe__a_dot_py=RIGHT)
    for n in range(2500):
        (root / "ann" / f"f{n:05}.txt").touch()
    deep = root / "zoe"
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
    read = {h.learner: h.read() for h in find(root)}
    assert len(read["ann"].files) <= submissions.MAX_FILES
    assert any("too many" in p for p in read["ann"].problems)
    assert list(read["zoe"].files) == ["a.py"]


@pytest.mark.parametrize(
    "name",
    ["=cmd|' C calc'!A0.py", "new\nline.py", "\u202etxt.py", "a" * 240 + ".py", "-rf.py", "ö ü.py"],
)
def test_hostile_file_names(tmp_path: Path, name: str, judge: Judge) -> None:
    (tmp_path / name).write_text(RIGHT)
    (handed,) = find(tmp_path)
    read = handed.read()
    assert not set(read.learner) & set("\n\t\u202e")
    assert judge(read.files).outcome == "passed"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.py")).write_text(RIGHT)
    (handed,) = find(tmp_path)
    json.dumps([handed.learner, *handed.read().files]).encode("utf-8")
    handed.learner.encode("utf-8")


def test_different_odd_names_stay_different() -> None:
    assert legible("a\n") != legible("a\r") != legible("a")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2026-11-21", 1795219200.0), ("2026-11-21T18:30:15_x", 1795285815.0), ("attempt", 0.0)],
)
def test_dates_in_names(text: str, seconds: float) -> None:
    assert date_in(text) == seconds


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_to_grade_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSubmissions, match=r"no s"):
        find(tmp_path / name)


# --- 42, 54, 55, 57, 60, 64: what stands in the files --------------------------------------------


def test_shadow_files_change_nothing(judge: Judge) -> None:
    spoil = b"raise SystemExit\n"
    shadows = (
        "numpy.py",
        "sitecustomize.py",
        "conftest.py",
        "normcourse.py",
        "codec.py",
        "json.py",
    )
    files = dict.fromkeys(shadows, spoil) | {"a.py": RIGHT.encode()}
    assert judge(files).outcome == "passed"


def test_own_helper_files_can_be_used(judge: Judge) -> None:
    code = "import helper\nfrom pkg.more import ONE\n" + RIGHT.replace(
        "return ", "return helper.one() * ONE * "
    )
    files = {"a.py": code.encode(), "helper.py": b"def one():\n    return 1.0\n"}
    files |= {"pkg/__init__.py": b"", "pkg/more.py": b"ONE = 1.0\n"}
    verdict = judge(files)
    assert verdict.outcome == "passed", verdict.feedback


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (b"def batch_norm_forward(x, gamma, beta, eps=1e-5)\n    return x\n", "error"),
        (RIGHT.encode().replace(b"\n", b"\0\n", 1), "error"),
        (b"\xef\xbb\xbf" + RIGHT.encode(), "passed"),
        (RIGHT.replace("\n", "\r\n").encode(), "passed"),
        (RIGHT.encode() + "# ä".encode("latin-1"), "error"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100, "error"),
        (b"", "not_submitted"),
        (
            b"def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    return " + b"(" * 10_000,
            "error",
        ),
        (b"x = " + b"-" * 900_000 + b"1\n" + RIGHT.encode(), "passed"),
        (b"x = 1\n" * 300_000, "error"),
    ],
    ids=[
        "syntax",
        "nul",
        "bom",
        "crlf",
        "latin-1",
        "binary",
        "empty",
        "parentheses",
        "deep",
        "long",
    ],
)
def test_broken_files(code: bytes, outcome: str, judge: Judge) -> None:
    assert judge(code).outcome == outcome


def test_a_lone_surrogate_costs_its_cell(judge: Judge) -> None:
    book = notebook(RIGHT, "s = 'X'").replace(b"'X'", b"'\\ud800'")
    assert judge({"a.ipynb": book}).outcome == "passed"


def test_notebook_cells_fail_alone(judge: Judge) -> None:
    book = notebook(
        "%matplotlib inline\n!pip install torch\nimport matplotlib.pyplot as plt\nplt.plot([1])",
        "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass",
        "input('name? ')",
        "raise ValueError('in another cell')",
        "def affine_to_undo(mean, var, eps=1e-5)\n    broken",
        "EPS = 0.0",
        RIGHT.replace("eps)", "eps + EPS)"),
        "from normcourse import check, hint\ncheck(batch_norm_forward)\nhint(batch_norm_forward)",
        "batch_norm_forward?",
    )
    verdict = judge({"a.ipynb": book})
    assert verdict.outcome == "passed", verdict.feedback
    assert any("magics" in note for note in verdict.notes)
    broken = judge({"a.ipynb": book}, "affine_to_undo")
    assert broken.outcome == "error"
    assert "cell 5" in (broken.feedback.message if broken.feedback else "")


def test_code_at_the_parsers_limit_of_depth_is_parsed_once(judge: Judge) -> None:
    """The same text must not parse where it is read and fail where it is used, further down."""

    def code(depth: int) -> bytes:
        return RIGHT.encode() + b"deep = " + b"-" * depth + b"1\n"

    def problem(depth: int) -> bool:
        (source,) = read_papers({"a.py": code(depth)}, []).sources.values()
        return any(cell.problem for cell in source.cells)

    least, most = 10, 10**6
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if problem(middle) else (middle, most)
    files = {"a.py": code(least)}
    papers = read_papers(files, [])

    def further_down(frames: int) -> str:
        if frames:
            return further_down(frames - 1)
        path, source = papers.holding("batch_norm_forward") or ("", None)
        assert source is not None
        assert source.definition("batch_norm_forward") is not None
        assert violations(find_exercise("batch_norm_forward"), source, frozenset()) == []
        return path

    assert further_down(60) == "a.py"
    assert judge(files).outcome == "passed"


@pytest.mark.parametrize("source", [None, 3, {"a": 1}, [None, 3], True])
def test_a_cell_whose_source_is_no_text_costs_itself(judge: Judge, source: object) -> None:
    """Found by the long fuzz run: null instead of a text."""
    book = json.loads(notebook("x = 1", RIGHT))
    book["cells"][0]["source"] = source
    assert judge({"a.ipynb": json.dumps(book).encode()}).outcome == "passed"


def test_duplicate_cell_ids_do_not_matter(judge: Judge) -> None:
    book = json.loads(notebook(ZERO, RIGHT))
    for cell in book["cells"]:
        cell["id"] = "same"
    assert judge({"a.ipynb": json.dumps(book).encode()}).outcome == "passed"


def test_the_stub_is_not_started(judge: Judge) -> None:
    from normcourse.checks.texts import text_of

    assert judge(text_of(find_exercise("batch_norm_forward")).stub).outcome == "not_started"


def test_state_of_one_exercise_does_not_reach_another(judge: Judge) -> None:
    """Answers that spoil NumPy when called spoil their own exercise alone."""
    code = RIGHT + (
        "def affine_to_undo(mean, var, eps=1e-5):\n"
        "    np.sqrt = np.mean = lambda *a, **k: 0\n    return mean, var\n"
    )
    assert judge(code, "affine_to_undo").outcome == "failed"
    assert judge(code).outcome == "passed"


def test_forbidden_routes_are_named(judge: Judge) -> None:
    code = (
        "import torch.nn.functional as F\nimport numpy as np\n"
        "def inner(x): return F.batch_norm(x, None, None)\n"
        "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    return inner(x)\n"
    )
    verdict = judge(code)
    assert verdict.outcome == "failed"
    assert verdict.feedback is not None
    assert "`torch.nn.functional.batch_norm`" in verdict.feedback.message
    unused = "import torch\nimport sklearn\n" + RIGHT
    assert judge(unused).outcome == "passed"


def test_a_layer_from_scratch_is_not_the_librarys(judge: Judge) -> None:
    """Found by reading the code, so that no PyTorch is needed here."""
    for call in ("nn.BatchNorm2d(c)", "nn.functional.batch_norm", "torch.batch_norm"):
        code = "import torch\nfrom torch import nn\nclass BatchNorm(nn.Module):\n"
        code += f"    def __init__(self, c):\n        super().__init__()\n        self.f = {call}\n"
        verdict = judge(code, "BatchNorm")
        assert verdict.outcome == "failed", call
        assert verdict.feedback is not None
        assert "normalization layers" in verdict.feedback.message


# --- fuzz: seconds here; NORMCOURSE_FUZZ=1000000 for a long run ----------

_words = st.text(alphabet=string.printable + "äéλ\ud800\0\u202e", max_size=40)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)
_cell = st.fixed_dictionaries(
    {},
    optional={
        "cell_type": st.sampled_from(["code", "markdown", "raw"]) | _json,
        "source": st.sampled_from([RIGHT, "%%bash\nrm", "!ls", "def f(:"]) | _words | _json,
        "metadata": _json,
        "id": _json,
    },
)
_books = st.fixed_dictionaries({}, optional={"cells": st.lists(_cell | _json) | _json, "x": _json})


def _mangled(data: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    mangled = bytearray(data)
    for _ in range(rng.randrange(4)):
        if mangled:
            mangled[rng.randrange(len(mangled))] = rng.randrange(256)
    return bytes(mangled[: rng.randrange(len(mangled) + 1)] if rng.random() < 0.2 else mangled)


@settings(max_examples=int(os.environ.get("NORMCOURSE_FUZZ", "600")), deadline=None)
@given(book=_books, seed=st.integers(0, 2**32), suffix=st.sampled_from([".ipynb", ".py", ".IPYNB"]))
def test_whatever_the_file_reading_it_ends(book: object, seed: int, suffix: str) -> None:
    """No content raises, and what is found are cells of text with their errors said."""
    data = _mangled(json.dumps(book).encode(), seed)
    papers = read_papers({f"a{suffix}": data}, [])
    assert len(papers.sources) + len(papers.problems) == 1
    for source in papers.sources.values():
        for cell in source.cells:
            assert isinstance(cell.code, str)
            cell.names  # noqa: B018 - reading them parses
        source.defines("batch_norm_forward")
