"""Profiles TFLite models on this machine: the latency of each operator.

LiteRT's Python interface has no profiler. So each operator is cut out into a model of
its own and timed alone, on the values it gets inside the whole model. The sum over
operators differs from the latency of the whole model: alone, an operator has the caches
to itself and cannot be fused with its neighbour. The report has both figures.
"""

import copy
from collections import Counter
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfsr.quiet import quiet_stderr
from tfsr.tflite.flatbuffer import kind_of, pack, unpack
from tfsr.tflite.interpreters import GuardedInterpreter, TimedInterpreter, child_of
from tfsr.tflite.runtime import TFLiteFile

ACTIVATION = {n: name for name, n in vars(schema.ActivationFunctionType).items()}


def profile(
    file: str | Path, threads: int, size: tuple[int, int] | None = None, runs: int = 10
) -> dict:
    """Returns the profile of one model.

    Args:
        file: The `.tflite` file.
        threads: CPU threads.
        size: Height and width of the input of a dynamic model.
        runs: Timed runs of the whole model and of each distinct operator.

    Returns:
        `file`, `format`, `size`, `threads`, `delegate`; `whole_ms`, the median latency
        of the whole model; `operators_ms`, the sum over its operators alone;
        `operators`, one entry for operators that are alike: `kind`, `name` of the
        first, `detail`, `count`, `ms` of one, `total_ms`, `share` of the sum,
        `mult_adds` of one and `gmac_per_s` (both None unless it is a convolution or
        fully connected); `kinds`, the sums by kind.

    Raises:
        InputError: If the file is damaged or LiteRT cannot run it.
    """
    opened = TFLiteFile(file, threads, size)
    if isinstance(opened.interpreter, GuardedInterpreter):
        child = child_of(str(file), 100 * opened.values)
        here = "tfsr.tflite.benchmark.profiling:profile"
        return child.run(here, str(file), threads, size, runs)
    opened.fill(np.random.default_rng(0))
    inputs = {
        lr["index"]: opened.interpreter.get_tensor(lr["index"])
        for lr in opened.interpreter.get_input_details()
    }
    different: dict[tuple, IsolatedOperator] = {}
    counts: Counter[tuple] = Counter()
    graph = IsolatedOperators(Path(file).read_bytes(), inputs)
    for operator in graph.run(inputs, threads):
        different.setdefault(operator.signature, operator)
        counts[operator.signature] += 1
    whole_ms: list[float] = []
    operator_ms: dict[tuple, list[float]] = {name: [] for name in different}
    opened.interpreter.invoke()
    for _ in range(runs):  # in turns, so that a drift of the machine affects all alike
        whole_ms.append(opened.interpreter.invoke_ms())
        for signature, operator in different.items():
            if not operator.constant:
                operator.interpreter.invoke()  # brings its input into the cache
                operator_ms[signature].append(operator.interpreter.invoke_ms())
    rows = [
        {
            **operator.describe(),
            "count": counts[signature],
            "ms": float(np.median(operator_ms[signature] or 0)),
        }
        for signature, operator in different.items()
    ]
    return {
        "file": str(file),
        "format": opened.metadata["format"],
        "size": opened.shown_size,
        "threads": threads,
        "delegate": "xnnpack",
        "whole_ms": float(np.median(whole_ms)),
        **summarize(rows),
    }


def summarize(rows: list[dict]) -> dict:
    """Returns `operators_ms`, `operators` and `kinds` of a profile, longest first.

    Args:
        rows: For each operator `kind`, `name`, `detail`, `count`, `ms` and `mult_adds`.
    """
    operators_ms = sum(row["count"] * row["ms"] for row in rows)
    operators = []
    for row in rows:
        total_ms = row["count"] * row["ms"]
        rates = _rates(total_ms, operators_ms, row["mult_adds"], row["count"])
        operators.append({**row, "total_ms": total_ms, **rates})
    kinds = []
    for kind in dict.fromkeys(row["kind"] for row in operators):
        same = [row for row in operators if row["kind"] == kind]
        count = sum(row["count"] for row in same)
        total_ms = sum(row["total_ms"] for row in same)
        mult_adds = sum((row["mult_adds"] or 0) * row["count"] for row in same) or None
        rates = _rates(total_ms, operators_ms, mult_adds)
        kinds.append({"kind": kind, "count": count, "total_ms": total_ms, **rates})
    return {
        "operators_ms": operators_ms,
        "kinds": sorted(kinds, key=lambda row: -row["total_ms"]),
        "operators": sorted(operators, key=lambda row: -row["total_ms"]),
    }


def _rates(total_ms, operators_ms, mult_adds, count=1):
    return {
        "share": total_ms / operators_ms if operators_ms else 0.0,
        "gmac_per_s": mult_adds * count / total_ms / 1e6
        if mult_adds and total_ms
        else None,
    }


class IsolatedOperators:
    """The operators of a TFLite model, each as a model of its own.

    Operators whose inputs are all constant, such as those that widen float16 weights,
    run once when a model is loaded. They are put into the models of the operators that
    use their results.

    Args:
        content: Content of the `.tflite` file.
        inputs: The model's inputs by tensor index; they fix the shapes of a dynamic
            model.
    """

    def __init__(self, content: bytes, inputs: dict[int, np.ndarray]):
        self.model = unpack(content)
        (self.graph,) = self.model.subgraphs
        self.shapes = _shapes(content, inputs)
        self.constants = {
            i for i, tensor in enumerate(self.graph.tensors) if self._is_stored(tensor)
        }
        # Operators that compute constants, by tensor index.
        self.producers: dict[int, schema.OperatorT] = {}
        for operator in self.graph.operators:
            if self.constants.issuperset(i for i in operator.inputs if i >= 0):
                self.constants.update(operator.outputs)
                self.producers |= dict.fromkeys(operator.outputs, operator)

    def run(self, inputs: dict[int, np.ndarray], threads: int):
        """Runs every operator in order, and yields it as an `IsolatedOperator`.

        Args:
            inputs: The model's inputs by tensor index.
            threads: CPU threads.
        """
        values = dict(inputs)
        last_use = {
            i: n
            for n, operator in enumerate(self.graph.operators)
            for i in operator.inputs
        }
        for n, operator in enumerate(self.graph.operators):
            isolated = IsolatedOperator(self, operator)
            if not isolated.constant:
                values |= isolated.run(values, threads)
            yield isolated
            for i in operator.inputs:
                if last_use[i] == n and i not in self.graph.outputs:
                    values.pop(i, None)

    def build(self, operator, inputs: list[int]) -> bytes:
        """Returns the content of a `.tflite` file with one operator.

        Args:
            operator: An `OperatorT` of the graph.
            inputs: Tensor indices of the operator's inputs that are not constant.
        """
        operators = [*self._constant_operators(operator.inputs), operator]
        used = sorted({i for o in operators for i in (*o.inputs, *o.outputs) if i >= 0})
        new = {old: i for i, old in enumerate(used)} | {-1: -1}
        buffers, tensors = [schema.BufferT()], []
        for i in used:
            tensor = copy.copy(self.graph.tensors[i])
            tensor.shape, tensor.shapeSignature = self.shapes[i], None
            buffer = self.model.buffers[tensor.buffer]
            tensor.buffer = 0
            if i in self.constants and i not in self.producers:
                tensor.buffer = len(buffers)
                buffers.append(buffer)
            tensors.append(tensor)
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = tensors, []
        for original in operators:
            moved = copy.copy(original)
            moved.inputs = [new[i] for i in original.inputs]
            moved.outputs = [new[i] for i in original.outputs]
            graph.operators.append(moved)
        graph.inputs = [new[i] for i in inputs]
        graph.outputs = [new[i] for i in operator.outputs]
        model = schema.ModelT()
        model.version, model.operatorCodes = 3, self.model.operatorCodes
        model.subgraphs, model.buffers = [graph], buffers
        return pack(model)

    def _constant_operators(self, tensors):
        """Returns the operators that compute the constants among `tensors`, in order.

        This includes the operators that compute the inputs of these operators.
        """
        found = []
        for i in tensors:
            producer = self.producers.get(i)
            if producer is not None and producer not in found:
                found += [*self._constant_operators(producer.inputs), producer]
        return found

    def _is_stored(self, tensor):
        data = self.model.buffers[tensor.buffer].data
        return data is not None and len(data) > 0

    def kind(self, operator) -> str:
        """Returns the name of an operator's kind, such as `CONV_2D`."""
        name = kind_of(self.model, operator)
        code = self.model.operatorCodes[operator.opcodeIndex]
        return code.customCode.decode() if name == "CUSTOM" else name


class IsolatedOperator:
    """One operator of a model, to be run alone.

    Args:
        whole: The operators of the whole model.
        operator: The `OperatorT` of this one.
    """

    def __init__(self, whole: IsolatedOperators, operator):
        self.whole, self.operator = whole, operator
        self.inputs = [
            i
            for i in dict.fromkeys(operator.inputs)
            if i >= 0 and i not in whole.constants
        ]
        self.constant = not whole.constants.isdisjoint(operator.outputs)
        self.interpreter: TimedInterpreter = None  # until it has run

    def run(self, values: dict[int, np.ndarray], threads: int) -> dict[int, np.ndarray]:
        """Runs the operator once; returns its outputs by tensor index.

        Args:
            values: Values of its inputs, by tensor index in the whole model.
            threads: CPU threads.
        """
        content = self.whole.build(self.operator, self.inputs)
        self.interpreter = TimedInterpreter(model_content=content, num_threads=threads)
        with quiet_stderr():  # LiteRT announces its CPU delegate
            self.interpreter.allocate_tensors()
        for i, details in zip(
            self.inputs, self.interpreter.get_input_details(), strict=True
        ):
            self.interpreter.set_tensor(details["index"], values[i])
        self.interpreter.invoke()
        return {
            i: self.interpreter.get_tensor(details["index"])
            for i, details in zip(
                self.operator.outputs,
                self.interpreter.get_output_details(),
                strict=True,
            )
        }

    @property
    def signature(self) -> tuple:
        """A key that is equal for operators that take equally long."""
        quantizations = [
            self._quantization(i) for i in (*self.inputs, *self.operator.outputs)
        ]
        options = self.operator.builtinOptions
        return (
            self.whole.kind(self.operator),
            repr(sorted(vars(options).items(), key=str) if options else None),
            *(
                self._tensor(i) if i >= 0 else None
                for i in (*self.operator.inputs, *self.operator.outputs)
            ),
            all(q == quantizations[0] for q in quantizations),
        )

    def describe(self) -> dict:
        """Returns the operator's `kind`, `name`, `detail` and `mult_adds`."""
        kind = self.whole.kind(self.operator)
        output = self.operator.outputs[0]
        kernel = self._kernel(kind)
        shapes = Counter(filter(None, map(self._shape, self.inputs)))
        inputs = " + ".join(s if n == 1 else f"{n} of {s}" for s, n in shapes.items())
        numbers = "numbers"  # of which a shape is computed
        detail = f"{inputs or numbers} to {self._shape(output) or numbers}"
        if kernel is not None and len(kernel) == 4:
            detail += f", {kernel[1]}x{kernel[2]}"
            groups = self._groups(kind, kernel)
            detail += f", {groups} groups" if groups > 1 else ""
        activation = getattr(self.operator.builtinOptions, "fusedActivationFunction", 0)
        detail += f", {ACTIVATION[activation]}" if activation else ""
        return {
            "kind": kind,
            "name": self.whole.graph.tensors[output].name.decode(),
            "detail": "constant" if self.constant else detail,
            "mult_adds": None if kernel is None else self._mult_adds(kind, kernel),
        }

    def _kernel(self, kind):
        """Returns the shape of the kernel; None of an operator without one.

        `(C_out, h, w, C_in / groups)` for a convolution, `(1, h, w, C_out)` for a
        depthwise one, `(C_out, C_in)` for a fully connected operator.
        """
        convolutions = "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"
        if kind in (*convolutions, "FULLY_CONNECTED"):
            return [int(n) for n in self.whole.shapes[self.operator.inputs[1]]]
        return None

    def _groups(self, kind, kernel):
        channels = int(self.whole.shapes[self.inputs[0]][-1])
        return channels // kernel[3] if kind == "CONV_2D" else 1

    def _mult_adds(self, kind, kernel):
        """Returns the kernel's size times the number of positions it is applied at."""
        # A transposed convolution applies its kernel at each position of its input.
        transposed = kind == "TRANSPOSE_CONV"
        where = self.operator.inputs[2] if transposed else self.operator.outputs[0]
        places = int(np.prod(self.whole.shapes[where][:-1]))
        return places * int(np.prod(kernel))

    def _tensor(self, i):
        constant = i in self.whole.constants
        shape = tuple(int(n) for n in self.whole.shapes[i])
        quant_scales = len(self._quantization(i)[0])
        return shape, self.whole.graph.tensors[i].type, constant, quant_scales

    def _quantization(self, i):
        quantization = self.whole.graph.tensors[i].quantization
        scales = [] if quantization is None else quantization.scale
        points = [] if quantization is None else quantization.zeroPoint
        return tuple([] if scales is None else scales), tuple(
            [] if points is None else points
        )

    def _shape(self, i):
        return "x".join(str(n) for n in self.whole.shapes[i][1:])


def _shapes(content, inputs):
    """Returns the shapes of all tensors by index, if the model has these `inputs`."""
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    for i, value in inputs.items():
        interpreter.resize_tensor_input(i, value.shape)
    interpreter.allocate_tensors()
    for i, value in inputs.items():
        interpreter.set_tensor(i, value)
    # Where a shape is computed from the input's, only a run tells it.
    interpreter.invoke()
    return {d["index"]: d["shape"] for d in interpreter.get_tensor_details()}
