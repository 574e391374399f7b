"""A teacher with another tokenizer, three ways: `python -m tests.benchmarks.alignment [seeds]`.

stories260K (512 tokens) samples beginnings of stories, with the top 20 of each token. Students
with babyllama's tokenizer (105 characters) learn them, from the same weights, in as many steps:
by cross-entropy alone; by kd from the stored log-probabilities, aligned by bytes; and by TRL's
GOLDTrainer, which asks the teacher again at each step. They are compared by the cross-entropy
of samples that none of them saw, per byte: the teacher's own is the least that can be reached.

GOLD aligns by bytes only what is byte-level, and both are not; so it aligns by position there,
as it advises, and all is done again for tokenizers made byte-level: the teacher's with the
same tokens, the student's with single bytes. Both models are read from ../shared/models.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from time import process_time

os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "1"}

import torch
from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.utils import logging
from trl.experimental.gold import GOLDConfig, GOLDTrainer

from synthkd.corpus.vocabulary import fingerprint, read_vocabulary
from synthkd.records import Message, TokenLogprobs
from synthkd.teachers.local.decoding import decode
from synthkd.teachers.local.rows import Endings, Task
from synthkd.teachers.local.sampling import Sampling
from synthkd.training import KdStudent, SftStudent, TrainingRow
from synthkd.training.alignment import Alignment, Kind, align
from synthkd.training.rows import encode_rows, read_student_vocabulary

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
TEACHER, READER = str(MODELS / "stories260K"), str(MODELS / "babyllama-tok105")
ROWS, HELD_OUT, TOKENS, TOP = 192, 48, 48, 20
BATCH, EPOCHS, LR, LENGTH = 16, 20, 6e-3, 512
PROMPTS = ("Once upon a time,", "One day,", "Lily and Tom", "The little dog", "Mom said that")
TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)


def sample(seed: int) -> list[TrainingRow]:
    """Return what the teacher answers, at temperature 1."""
    network = AutoModelForCausalLM.from_pretrained(TEACHER, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(TEACHER)
    tokens = read_vocabulary(tokenizer.backend_tokenizer.to_str())
    prompts = [PROMPTS[place % len(PROMPTS)] for place in range(ROWS + HELD_OUT)]
    tasks = [
        Task(tokenizer(prompt)["input_ids"], seed * 100_000 + place, TOKENS)
        for place, prompt in enumerate(prompts)
    ]
    sampling = Sampling(temperature=1.0, logprobs=TOP)
    rows = {}
    for place, row in decode(
        network, tasks, sampling, Endings(frozenset({1, 2}), (), {}), slots=64
    ):
        text = b"".join(tokens[index] for index in row.tokens if index not in {1, 2})
        said = TokenLogprobs(fingerprint(tokens), row.positions(), tokens)
        messages = (Message("user", prompts[place]),)
        rows[place] = TrainingRow(str(place), messages, text.decode(errors="ignore"), said)
    return [rows[place] for place in sorted(rows)]


def make_base(folder: Path, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    """Write the weights that all students start from, and their tokenizer."""
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        initializer_range=0.1,  # learns to attend in tens of steps, not in hundreds
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def respell(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return a byte-level tokenizer with the ids and merges of a SentencePiece one."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    letters = {
        token.replace("▁", "Ġ"): index
        for token, index in model["vocab"].items()
        if token.replace("▁", "").isascii()
    }
    single = {letter: letters.pop(f"<0x{byte:02X}>") for byte, letter in bytes_to_unicode().items()}
    pairs = [tuple(part.replace("▁", "Ġ") for part in pair) for pair in model["merges"]]
    merges = [pair for pair in pairs if letters.keys() >= set(pair)]
    return as_byte_level(models.BPE(single | letters, merges), add_prefix_space=True)


def make_bytes() -> PreTrainedTokenizerBase:
    """Return a tokenizer of single bytes."""
    letters = [*("<unk>", "<s>", "</s>"), *bytes_to_unicode().values()]
    return as_byte_level(models.BPE({letter: i for i, letter in enumerate(letters)}, []))


def as_byte_level(model: models.BPE, *, add_prefix_space: bool = False) -> PreTrainedTokenizerBase:
    """Return a tokenizer that writes bytes as GPT-2 does."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=add_prefix_space, use_regex=False
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def train_ours(
    kind: type[SftStudent | KdStudent], rows: Iterable[TrainingRow], base: Path, to: Path
):
    """Train a student of a method of ours; return what was learned of the teacher."""
    student = kind(
        name=to.name,
        method="kd" if kind is KdStudent else "sft",
        base=str(base),
        optimizer={"lr": LR, "epochs": EPOCHS, "batch_size": BATCH},
        max_length=LENGTH,
    )
    return student.train(rows, to, checkpoint_folder=to.with_suffix(".checkpoint"))


def train_gold(
    rows: Sequence[TrainingRow], base: Path, to: Path, *, teacher: str, by_bytes: bool
) -> None:
    """Train a student by GOLD, half by cross-entropy, with its hybrid loss."""
    args = GOLDConfig(
        output_dir=str(to),
        max_steps=EPOCHS * len(rows) // BATCH,
        per_device_train_batch_size=BATCH,
        learning_rate=LR,
        lr_scheduler_type="cosine",
        warmup_steps=round(0.05 * EPOCHS * len(rows) / BATCH),
        weight_decay=0.01,
        max_length=LENGTH,
        lmbda=0.0,
        use_uld_loss=True,
        use_extended_uld=by_bytes,
        uld_use_hybrid_loss=True,
        uld_token_merge_strategy="bayesian",  # noqa: S106 - no password
        uld_crossentropy_weight=0.5,
        uld_distillation_weight=0.5,
        teacher_tokenizer_name_or_path=teacher,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
    )
    data = Dataset.from_list(
        [
            {
                "messages": [
                    {"role": "user", "content": row.messages[0].content},
                    {"role": "assistant", "content": row.completion},
                ]
            }
            for row in rows
        ]
    )
    trainer = GOLDTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        teacher_model=AutoModelForCausalLM.from_pretrained(TEACHER, dtype=torch.float32),
        args=args,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(base),
    )
    trainer.train()
    trainer.model.save_pretrained(to)


@torch.inference_mode()
def examine(folder: Path, rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase) -> float:
    """Return the cross-entropy of completions, without their ends, in nats per byte."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    nats = size = 0.0
    for row, encoded in zip(rows, encode_rows(rows, tokenizer, LENGTH).dataset, strict=True):
        ids = torch.tensor(encoded["input_ids"])[None]
        labels = torch.tensor(encoded["labels"])[None, 1:-1]
        logits = model(input_ids=ids).logits[:, :-2]
        nats += functional.cross_entropy(logits[0], labels[0], reduction="sum").item()
        size += len(row.completion.encode())
    return nats / size


def measure_floor(rows: Sequence[TrainingRow]) -> float:
    """Return the teacher's own cross-entropy, in nats per byte."""
    nats = -sum(position.sampled.logprob for row in rows for position in row.logprobs.positions)
    return nats / sum(len(row.completion.encode()) for row in rows)


def measure_rates(rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase) -> None:
    """Print how many rows a second are aligned, and how the tokens are taught."""
    other = read_student_vocabulary(tokenizer)
    same = read_student_vocabulary(AutoTokenizer.from_pretrained(TEACHER))
    for name, vocabulary in (("the teacher's own tokenizer", same), ("another tokenizer", other)):
        start = process_time()
        found = [align(row.logprobs, row.completion, vocabulary) for row in rows]
        seconds = process_time() - start
        kinds = sum((a.count_kinds() for a in found if isinstance(a, Alignment)), Counter[Kind]())
        shares = ", ".join(
            f"{kind.name.lower()} {count / kinds.total():.1%}" for kind, count in kinds.items()
        )
        print(
            f"{name}: {len(rows) / seconds:.0f} rows/s of {TOKENS} tokens and top {TOP}; {shares}"
        )


def compare(rows: Sequence[TrainingRow], base: Path, teacher: str, *, by_bytes: bool) -> None:
    """Print what students come to that learn all but the last of `rows`."""
    learned, held_out = rows[:ROWS], rows[ROWS:]
    tokenizer = AutoTokenizer.from_pretrained(base)
    gold = partial(train_gold, learned, base, teacher=teacher, by_bytes=by_bytes)
    roads = {
        "cross-entropy": partial(train_ours, SftStudent, learned, base),
        "kd, aligned": partial(train_ours, KdStudent, learned, base),
        f"GOLD, by {'bytes' if by_bytes else 'position'}": gold,
    }
    print(f"{'the teacher itself':20}{measure_floor(held_out):8.4f} nats per byte")
    for place, (road, train) in enumerate(roads.items()):
        to = base.with_name(f"{base.name}-{place}")
        start = process_time()
        result = train(to)
        seconds = (process_time() - start) / (EPOCHS * ROWS // BATCH)
        taught = ""
        if result and result.coverage is not None:
            taught = (
                f", {result.coverage - result.certain:.1%} of the tokens taught and "
                f"{result.certain:.1%} certain"
            )
        nats = examine(to, held_out, tokenizer)
        print(f"{road:20}{nats:8.4f}, {seconds:.2f} s a step{taught}", flush=True)


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()
    theirs, ours = AutoTokenizer.from_pretrained(TEACHER), AutoTokenizer.from_pretrained(READER)
    for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        rows = sample(seed)
        if not seed:
            measure_rates(rows, ours)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            respell(theirs).save_pretrained(folder / "teacher")
            print(f"seed {seed}: {ROWS} samples, {EPOCHS * ROWS // BATCH} steps of {BATCH} rows")
            make_base(folder / "characters", ours, seed)
            compare(rows, folder / "characters", TEACHER, by_bytes=False)
            print("the same, byte-level")
            make_base(folder / "bytes", make_bytes(), seed)
            compare(rows, folder / "bytes", str(folder / "teacher"), by_bytes=True)


if __name__ == "__main__":
    main()
