"""Tests of the project rather than of its code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import synthkd
from synthkd.errors import ConfigError
from synthkd.pipeline import prepare, read_project
from synthkd.pipeline.paths import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "synthkd").rglob("*.py"))
HEAVY = ["torch", "transformers", "trl", "datasets", "duckdb", "openai", "anthropic", "pyarrow"]
TOP_LEVEL = {
    ".ci", ".git", ".github", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "LICENSE",
    "README.md", "data", "pipelines", "prompts", "pyproject.toml", "synthkd", "tests",
}  # fmt: skip


@pytest.mark.parametrize("code", ["import synthkd", "import synthkd.cli"])
def test_importing_is_cheap(code: str) -> None:
    script = f"import sys; {code}; print(*[m for m in {HEAVY!r} if m in sys.modules])"

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == ""


def test_the_contents_page_names_what_is_there() -> None:
    public = [name for name in vars(synthkd) if not name.startswith("_") and name[0].isupper()]

    assert list(synthkd.__all__) == sorted(public)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_fits_the_reader(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)

    assert text.count("\n") <= 300
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_pipeline_can_be_run_or_says_what_it_needs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    project = read_project(str(path))
    if path.read_text().startswith("# Needs "):
        with pytest.raises(ConfigError, match="cannot be run"):
            prepare(project)
        return

    assert prepare(project).notes == []


def test_what_ships_with_the_package_is_beside_it() -> None:
    assert SHIPPED == ROOT
    assert (SHIPPED / "data/support/teacher/model.safetensors").stat().st_size < 5_000_000


def test_the_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    if not any(listed):
        pytest.skip("this is no git checkout")

    assert {name.split("/")[0] for name in listed if name} <= TOP_LEVEL


def test_every_data_folder_says_its_license() -> None:
    folders = [path for path in (ROOT / "data").iterdir() if path.is_dir()]

    assert folders
    assert all((folder / "LICENSE").is_file() for folder in folders)


def test_generated_data_is_what_its_generator_makes(tmp_path: Path) -> None:
    source = ROOT / "data" / "support"
    for path in [*source.glob("*.py"), *source.glob("*.toml")]:
        (tmp_path / path.name).write_bytes(path.read_bytes())

    subprocess.run([sys.executable, tmp_path / "generate.py"], check=True, capture_output=True)

    for made in tmp_path.glob("*.jsonl"):
        assert made.read_bytes() == (source / made.name).read_bytes(), made.name
