"""The teacher in this process, run by vLLM: for models and jobs that fill a GPU.

The same requests, replies and log-probabilities as of `local`, over vLLM's own batches
and its own cache of prefixes. Other kernels and other random numbers: under a
temperature its answers are others, so it is another teacher, with requests of its own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from synthkd.records import Json
from synthkd.teachers.local import LocalTeacher

if TYPE_CHECKING:
    from synthkd.teachers.local.posing import InProcess


class VllmTeacher(LocalTeacher):
    """`vllm/FOLDER` or `vllm/ORG/NAME[@REVISION]`, on all GPUs that CUDA_VISIBLE_DEVICES leaves.

    `concurrency` is how many sequences vLLM runs together. `dtype` is vLLM's: by default
    what the weights were saved in, and 16 bits where that is float32.
    """

    provider: ClassVar[str] = "vllm"
    extra: ClassVar[str] = "vllm"
    packages: ClassVar[tuple[str, ...]] = ("vllm",)

    @classmethod
    def find_mistakes(cls, parameters: Mapping[str, Json]) -> list[str]:
        """Return what is wrong with `parameters`, one line each."""
        mistakes = super().find_mistakes(parameters)
        if parameters.get("random_targets"):
            mistakes.append(
                "parameters.random_targets are drawn from the whole vocabulary, and vLLM tells "
                "the top of it; ask the model as local/..., or drop them"
            )
        if parameters.get("num_beams", 1) != 1:
            mistakes.append(
                "parameters.num_beams are searched by transformers alone; ask the model as "
                "local/..., or drop them"
            )
        return mistakes

    def _load(self, source: str) -> "InProcess":
        from synthkd.teachers.local.vllm_model import VllmModel

        return VllmModel(source, self._revision, slots=self._slots, dtype=self._dtype)
