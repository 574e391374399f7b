"""A graph whose stages are batches: each is handed in when the one before has come back."""

from pathlib import Path

from tests.pipeline.jobs import PROMPT, Job
from tests.teachers.batch.emulator import Emulator
from tests.teachers.loopback import Loopback


def test_each_run_takes_the_graph_a_stage_further(tmp_path: Path, loopback: Loopback) -> None:
    with Emulator() as emulator:
        job = Job(tmp_path, loopback)
        (tmp_path / "prompt.md").write_text(PROMPT.replace("output: {kind: tags, answer: a}\n", ""))
        job.options["teacher"] |= {"base_url": f"{emulator.url}/v1", "mode": "batch"}
        job.options["refine"] = {"critique": "critique.md", "revise": "revise.md"}

        bought, samples = [], []
        for _ in range(4):
            job.run()
            bought.append(emulator.bought.total())
            samples += job.query("SELECT count(*) FROM samples")
        job.run()

    assert bought == [5, 10, 15, 15]
    assert samples == [(0,), (0,), (0,), (5,)]
    assert emulator.bought.total() == 15
    assert set(emulator.bought.values()) == {1}
