"""Several processes, as a launcher starts them."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from synthkd.errors import ConfigError
from synthkd.training import KdStudent, SftStudent, TrainingRow
from synthkd.training.following import count_processes, is_follower
from synthkd.training.settings import divide_batch
from synthkd.training.student import Optimizer, open_door

from .conftest import TINY, MakeRows

COMMAND = """
import pickle, sys
from pathlib import Path
from synthkd.errors import ConfigError
from synthkd.training.following import dismiss, follow, is_follower

def lead(jobs):
    for student, rows, folder, stop in jobs:
        def interrupt(step, *_):
            if step == stop:
                raise KeyboardInterrupt
        try:
            student.train(rows, folder, checkpoint_folder=folder.parent / "c", progress=interrupt)
        except ConfigError as error:
            print("refused:", error)

if is_follower():
    follow()
else:
    try:
        lead(pickle.loads(Path(sys.argv[1]).read_bytes()))
    finally:
        dismiss()
"""


@pytest.fixture(scope="module")
def students(tokenizer_folder: Path) -> dict[str, SftStudent | KdStudent]:
    known = {"from_scratch": {**TINY, "tokenizer": str(tokenizer_folder)}}
    optimizer = {"epochs": 2, "batch_size": 8, "micro_batch_size": 2}
    common = {"name": "tiny", "optimizer": optimizer}
    # Its tokenizer is trained by one process and needed by both.
    new = {"base": {"from_scratch": TINY}, "validation": 0.2}
    return {
        "sft": SftStudent.model_validate({**common, "method": "sft", **new}),
        "kd": KdStudent.model_validate({**common, "method": "kd", "base": known}),
    }


@pytest.fixture(scope="module")
def rows(make_rows: MakeRows) -> dict[str, list[TrainingRow]]:
    # The last step has too few rows for both processes.
    return {"sft": make_rows(24), "kd": make_rows(17)}


@pytest.fixture(scope="module")
def launched(
    students: dict[str, SftStudent | KdStudent],
    rows: dict[str, list[TrainingRow]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Two processes: a training, one that is refused, another one, and one that breaks off."""
    folder = tmp_path_factory.mktemp("launched")
    jobs = [
        (students["sft"], rows["sft"], folder / "sft", 0),
        (students["sft"], [], folder / "refused", 0),
        (students["kd"], rows["kd"], folder / "kd", 0),
        (students["kd"], rows["kd"], folder / "broken", 2),
    ]
    (folder / "command.py").write_text(COMMAND)
    (folder / "jobs").write_bytes(pickle.dumps(jobs))
    done = subprocess.run(
        [
            sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu",
            "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
            "--dynamo_backend", "no", "--main_process_port", "0",
            str(folder / "command.py"), str(folder / "jobs"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done, folder


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_two_processes_train_the_student_that_one_does(
    method: str,
    launched: tuple[subprocess.CompletedProcess[str], Path],
    students: dict[str, SftStudent | KdStudent],
    rows: dict[str, list[TrainingRow]],
    tmp_path: Path,
) -> None:
    done, folder = launched
    students[method].train(rows[method], tmp_path / "one", checkpoint_folder=tmp_path / "c")

    one, two = (load_file(f / "model.safetensors") for f in (tmp_path / "one", folder / method))

    assert one.keys() == two.keys(), done.stderr
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5


def test_a_training_that_is_refused_does_not_stop_those_after_it(
    launched: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, folder = launched

    assert done.stdout.startswith("refused: there are no rows")
    assert "[transformers]" not in done.stderr
    assert (folder / "kd").is_dir()


def test_no_process_outlives_a_training_that_broke_off(
    launched: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, folder = launched

    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert not (folder / "broken").exists()


@pytest.mark.parametrize(
    ("environment", "count", "follows"),
    [
        ({}, 1, False),
        ({"WORLD_SIZE": "1", "RANK": "0"}, 1, False),
        ({"WORLD_SIZE": "2", "RANK": "0"}, 2, False),
        ({"WORLD_SIZE": "2", "RANK": "1"}, 2, True),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, 4, True),
    ],
)
def test_the_launcher_says_who_follows(
    environment: dict[str, str], count: int, follows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert (count_processes(), is_follower()) == (count, follows)


def test_a_method_for_one_process_refuses_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(ConfigError, match="without accelerate launch"):
        open_door()


@pytest.mark.parametrize(
    ("batch_size", "micro", "processes", "expected"),
    [(16, None, 1, (16, 1)), (16, 4, 1, (4, 4)), (16, None, 2, (8, 1)), (16, 4, 8, (2, 1)),
     (24, 8, 2, (6, 2))],
)  # fmt: skip
def test_a_step_has_as_many_rows_however_they_are_dealt(
    batch_size: int, micro: int | None, processes: int, expected: tuple[int, int]
) -> None:
    optimizer = Optimizer(batch_size=batch_size, micro_batch_size=micro)

    assert divide_batch(optimizer, processes) == expected


def test_rows_that_cannot_be_dealt_equally_are_an_error() -> None:
    with pytest.raises(ConfigError, match="a multiple of 3"):
        divide_batch(Optimizer(batch_size=16), 3)


def test_a_follower_starts_without_torch() -> None:
    script = "import sys; import synthkd.training.following; print('torch' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
