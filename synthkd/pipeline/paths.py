"""Where the paths in a pipeline file lead.

A relative path starts at the project: the folder that holds the pipeline file, or
its parent where that folder is called `pipelines`. What is read and is not there
is looked up among what synthkd ships, so that the shipped pipelines run anywhere.
"""

from pathlib import Path

import synthkd
from synthkd.teachers.options import TeacherOptions
from synthkd.training import AnyStudent, NewBase

_PACKAGE = Path(synthkd.__file__).parent
# A wheel carries prompts/, pipelines/ and data/ inside the package; a checkout beside it.
SHIPPED = _PACKAGE / "_shipped" if (_PACKAGE / "_shipped").is_dir() else _PACKAGE.parent


def find_pipeline(name: str) -> tuple[Path, Path]:
    """Return the pipeline file called `name`, and the folder of its project."""
    path = Path(name)
    if not path.exists() and not path.is_absolute() and (SHIPPED / path).is_file():
        return SHIPPED / path, Path.cwd()
    folder = path.resolve().parent
    return path, folder.parent if folder.name == "pipelines" else folder


def locate_teacher(project: Path, options: TeacherOptions) -> TeacherOptions:
    """Return `options` with the paths of what is on this machine: a teacher, a price table."""
    found = {}
    if options.prices:
        found["prices"] = str(find_input(project, options.prices))
    if options.provider in {"local", "scripted", "vllm"}:
        path = find_input(project, options.model_name)
        if path.exists():
            found["model"] = f"{options.provider}/{path}"
    return options.model_copy(update=found)


def locate_base(project: Path, student: AnyStudent) -> AnyStudent:
    """Return `student` with the paths of what is a folder here: base or tokenizer, and teacher."""
    teacher = getattr(student, "teacher", None)
    if teacher and find_input(project, teacher).is_dir():
        student = student.model_copy(update={"teacher": str(find_input(project, teacher))})
    base = student.base
    name = base.from_scratch.tokenizer if isinstance(base, NewBase) else base
    if name is None or not find_input(project, name).is_dir():
        return student
    found = str(find_input(project, name))
    if not isinstance(base, NewBase):
        return student.model_copy(update={"base": found})
    scratch = base.from_scratch.model_copy(update={"tokenizer": found})
    return student.model_copy(update={"base": NewBase(from_scratch=scratch)})


def find_input(project: Path, name: str) -> Path:
    """Return where to read `name` from; it may not be there."""
    path = project / Path(name).expanduser()
    shipped = SHIPPED / name
    return shipped if not path.exists() and shipped.exists() else path
