"""Runs and compiles `.tflite` files on the engines of `engines.py`.

What is known of engines beforehand is data: `ADVICE` on files, and `MISCOMPILES`, the
operators that an engine takes and computes wrongly.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import TensorType

from tfsr.children import ChildError
from tfsr.errors import InputError
from tfsr.files import write_array, write_bytes
from tfsr.tflite.devices.engines import ENGINES, Engine, examples
from tfsr.tflite.flatbuffer import kind_of, unpack
from tfsr.tflite.metadata import with_checksum, with_metadata
from tfsr.tflite.runtime import TFLiteUpscaler, metadata_of

SECONDS = 120.0  # for an engine to take a file, or to run one image


@dataclass(frozen=True)
class Advice:
    """A warning about files for some delegates, with advice.

    Attributes:
        against: The delegates, keys of `ENGINES`.
        applies: Tells whether the warning is for a file with this metadata.
        text: Ends the line that names the delegates.
    """

    against: tuple[str, ...]
    applies: Callable[[dict], bool]
    text: str


ADVICE = (
    Advice(
        ("gpu", "qualcomm"),
        lambda facts: not facts.get("size"),
        "refuse a file of open size or take it in parts; convert with --size HxW",
    ),
    Advice(
        ("qualcomm",),
        lambda facts: facts["format"] == "dynamic_int8",
        "take dynamic_int8 in parts; convert with --format int8",
    ),
    Advice(
        ("cpu", "gpu", "qualcomm"),
        lambda facts: facts["format"] == "int16x8",
        "take int16x8 in parts or not at all; convert with --format int8",
    ),
)


@dataclass(frozen=True)
class OperatorUse:
    """An operator of a file: its name, options, and the tensors that it reads.

    Attributes:
        makers: For each input: index and name of the operator that computes it, and
            the output number.
    """

    name: str
    options: Any
    shapes: list[tuple[int, ...]]
    makers: list[tuple[int, str, int]]
    is_int8: bool


@dataclass(frozen=True)
class KnownMiscompile:
    """A use of an operator that an engine takes and computes wrongly.

    `tests/tflite/devices/test_forms.py` shows each.
    """

    delegate: str
    what: str
    remedy: str
    matches: Callable[[OperatorUse], bool]


def _mixes_a_split(use):
    """Returns whether `use` reads several outputs of one split.

    Concatenating them in order does not count.
    """
    parts = defaultdict(list)
    for place, name, output in use.makers:
        if name in ("SPLIT", "SPLIT_V"):
            parts[place].append(output)
    joins = use.name == "CONCATENATION"
    return any(
        len(read) > 1 and not (joins and read == sorted(read))
        for read in parts.values()
    )


MISCOMPILES = (
    KnownMiscompile(
        "qualcomm",
        "a depthwise convolution of 2x2 with stride 2 on up to 4 channels in 8 bits, "
        "of which every output is the smallest value",
        "convert the network anew",
        lambda use: (
            use.name == "DEPTHWISE_CONV_2D"
            and use.is_int8
            and use.shapes[1][1:3] == (2, 2)
            and use.options.strideW == use.options.strideH == 2
            and use.shapes[0][-1] <= 4
        ),
    ),
    KnownMiscompile(
        "gpu",
        "a sum, a difference or a join in another order of parts of one split in float",
        "convert the network anew, or cut the parts out as slices",
        lambda use: (
            use.name in ("ADD", "SUB", "CONCATENATION")
            and not use.is_int8
            and _mixes_a_split(use)
        ),
    ),
)


@dataclass(frozen=True)
class Delegate:
    """A delegate by its name, such as `qualcomm:SM8650`.

    Raises:
        InputError: If there is none of the name.
    """

    name: str

    def __post_init__(self):
        engine, _, option = self.name.partition(":")
        known = ENGINES.get(engine)
        if known and re.fullmatch(known.option, option) and self.name[-1] != ":":
            return
        raise InputError(f"{self.name}: no delegate; choose from {examples()}.")

    @property
    def engine(self) -> Engine:
        return ENGINES[self.name.partition(":")[0]]

    @property
    def option(self) -> str:
        return self.name.partition(":")[2]

    def missing(self) -> str | None:
        """Returns what to install before it can run here; None if it can."""
        find = self.engine.load("missing")
        return find() if find else None

    def check(self) -> None:
        """Checks that it can run here.

        Raises:
            InputError: If something must be installed before.
        """
        if missing := self.missing():
            raise InputError(f"{self.name}: cannot run here: {missing}.")


def coverage(file: str | Path, delegate: Delegate) -> dict:
    """Returns what a delegate takes of a file.

    Returns:
        `taken`, "whole", "parts", "refused" or "unavailable"; `parts`, how many;
        `refused_operators`, their names; `reason`, one line, the engine's own where it
        refuses; `device`, what runs it, and `software`, whether that is a software
        driver or an emulator, if known; `advice`, as the function of that name returns.
    """
    metadata = metadata_of(file)
    engine = delegate.engine
    found = {
        "taken": "refused",
        "parts": 0,
        "refused_operators": [],
        "reason": None,
        "device": None,
        "software": None,
        "advice": [],
    }
    if compiled := metadata.get("compiled"):
        reason = f"compiled already, for {compiled}; ask about the plain file"
        return {**found, "taken": "unavailable", "reason": reason}
    found["advice"] = advice(file, [delegate])
    if missing := delegate.missing():
        return {**found, "taken": "unavailable", "reason": missing}
    if not engine.open_size and not metadata.get("size"):
        return {**found, "reason": "its size is open, and the engine would fix it"}
    try:
        answer = engine.load("coverage")(Path(file), delegate.option, SECONDS)
    except ChildError as error:
        return {**found, "reason": error.reason}
    known = {key: answer[key] for key in found.keys() & answer.keys()}
    share = "whole" if answer["whole"] else "parts" if answer["parts"] else "refused"
    return {**found, **known, "taken": share}


def advice(file: str | Path, delegates: Sequence[Delegate] | None = None) -> list[str]:
    """Returns warnings about a file, each in one line with the delegates it is for.

    Args:
        file: A `.tflite` file of ours.
        delegates: Delegates to warn about; all by default.
    """
    metadata = metadata_of(file)
    asked = [*ENGINES] if delegates is None else [d.name for d in delegates]
    names = {name.partition(":")[0]: name for name in asked}
    lines = []
    for entry in ADVICE:
        against = [names[kind] for kind in entry.against if kind in names]
        if against and entry.applies(metadata):
            lines.append(f"{' and '.join(against)} would {entry.text}.")
    for use in operator_uses(Path(file).read_bytes()):
        for wrong in MISCOMPILES:
            if wrong.delegate in names and wrong.matches(use):
                line = (
                    f"{names[wrong.delegate]} computes wrongly {wrong.what}; "
                    f"{wrong.remedy}."
                )
                lines += [] if line in lines else [line]
    return lines


def operator_uses(content: bytes) -> list[OperatorUse]:
    """Returns the operators of a `.tflite` file, in order."""
    model = unpack(content)
    graph = model.subgraphs[0]
    found = []
    made: dict[int, tuple[int, str, int]] = {}
    for place, operator in enumerate(graph.operators):
        name = kind_of(model, operator)
        tensors = [graph.tensors[i] for i in operator.inputs if i >= 0]
        shapes = [() if t.shape is None else tuple(map(int, t.shape)) for t in tensors]
        found.append(
            OperatorUse(
                name,
                operator.builtinOptions,
                shapes,
                [made[i] for i in operator.inputs if i in made],
                tensors[0].type == TensorType.INT8,
            )
        )
        outputs = enumerate(map(int, operator.outputs))
        made |= {tensor: (place, name, i) for i, tensor in outputs}
    return found


def compile(file: str | Path, delegate: Delegate) -> Path:
    """Writes a file compiled for a delegate beside it; returns the new file.

    Its name gets the option before its ending, as `FILE_SM8650.tflite`; its metadata is
    the file's, and `compiled`, the delegate's name.

    Raises:
        InputError: If the compiler fails, or the delegate takes no compiled files.
    """
    compiler = delegate.engine.load("compile")
    if compiler is None:
        raise InputError(f"{delegate.name}: takes no compiled files.")
    target = Path(file).with_stem(f"{Path(file).stem}_{delegate.option}")
    facts = {**metadata_of(file), "compiled": delegate.name}
    with tempfile.TemporaryDirectory() as folder:
        plain, out = (Path(folder) / f"{n}.tflite" for n in ("plain", "compiled"))
        content = Path(file).read_bytes()
        write_bytes(plain, with_metadata(content, facts, content))
        try:
            compiler(plain, delegate.option, out, SECONDS)
        except ChildError as error:
            raise InputError(
                f"{file}: {delegate.name} does not compile it: {error.reason}."
            ) from None
        write_bytes(target, with_checksum(out.read_bytes()))
    return target


class DelegatedUpscaler:
    """Runs all images on a delegate once, then returns their stored results.

    Engines start slowly.

    Args:
        file: A `.tflite` file of ours of fixed size.
        delegate: What runs it.
        images: Float32 `(H, W, C)` in [0, 1], of the file's size.

    Attributes:
        device: What ran it.
        note: What one must know of the result; None for nothing.

    Raises:
        InputError: If the delegate cannot run it; the message has the engine's reason.
    """

    tiles = None  # as its images have the file's size

    def __init__(
        self, file: str | Path, delegate: Delegate, images: Sequence[np.ndarray]
    ):
        run = delegate.engine.load("run")
        if run is None:
            raise ValueError(
                f"`delegate` must be another than the CPU. Received: {delegate}."
            )
        self._local = local = TFLiteUpscaler(file)
        self.name, self.scale, self.channels = local.name, local.scale, local.channels
        distinct = {image.tobytes(): image for image in images}
        seconds = SECONDS + len(distinct) * SECONDS / 4
        with tempfile.TemporaryDirectory() as folder:
            lr, sr = (Path(folder) / f"{name}.npy" for name in ("lr", "sr"))
            inputs = [local.input_array(image) for image in distinct.values()]
            write_array(lr, np.stack(inputs))
            try:
                ran = run(Path(file), delegate.option, lr, sr, seconds)
            except ChildError as error:
                raise InputError(
                    f"{file}: {delegate.name} does not run it: {error.reason}."
                ) from None
            outputs = np.load(sr)
        self.device, self.note = ran["device"], ran.get("note")
        self._outputs = dict(zip(distinct, outputs, strict=True))

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return self._local.from_bytes(self._outputs[lr.tobytes()].tobytes())
