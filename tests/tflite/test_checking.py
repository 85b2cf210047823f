"""Graphs made to do harm are refused by a line before a runtime sees them."""

import contextlib
import math
import struct

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from fuzzing import mutate, mutate_graph, survey
from tfsr.errors import InputError
from tfsr.tflite.checking import check
from tfsr.tflite.flatbuffer import pack
from tfsr.zoo import released

LR, KERNEL, BIAS, MAPS, SR = range(5)


def test_sound_graphs_pass(enlarger):
    for model in (enlarger(), enlarger(white=255), enlarger(open=True)):
        content = pack(model)
        assert pack(check(content, "m.tflite")) == content


def test_released_files_pass():
    (file, *_) = sorted(released.FOLDER.glob("*.tflite"))
    check(file.read_bytes(), file)


def of_tensor(n, **values):
    def change(model):
        vars(model.subgraphs[0].tensors[n]).update(values)

    return change


def of_quantization(n, **values):
    def change(model):
        vars(model.subgraphs[0].tensors[n].quantization).update(values)

    return change


def of_operator(n, **values):
    def change(model):
        vars(model.subgraphs[0].operators[n]).update(values)

    return change


def of_options(n, **values):
    def change(model):
        vars(model.subgraphs[0].operators[n].builtinOptions).update(values)

    return change


def of_graph(**values):
    def change(model):
        vars(model.subgraphs[0]).update(values)

    return change


def shorten(model):
    buffer = model.buffers[model.subgraphs[0].tensors[KERNEL].buffer]
    buffer.data = buffer.data[:-4]


def become(name, custom=None):
    def change(model):
        code = model.operatorCodes[1]
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.customCode = 0, custom

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shorten, "tensor 1 of 324 bytes in 320"),
        (of_tensor(LR, shape=[1, 8, 10, -3]), "tensor 0 of shape 1x8x10x-3"),
        (of_tensor(LR, shape=[1, 0, 10, 3]), "tensor 0 of shape 1x0x10x3"),
        (of_tensor(SR, shape=[1, 2**15, 2**15, 3]), "tensor 4 of 3221225472 bytes"),
        (of_tensor(SR, shape=[2**31 - 1] * 4), "tensor 4 of 2126764"),
        (of_tensor(SR, shapeSignature=[-1, -1]), "tensor 4 of shape .* or -1x-1"),
        (of_tensor(KERNEL, buffer=9), "buffer of tensor 1: 9, of 3"),
        (of_tensor(LR, type=schema.TensorType.STRING), "tensor 0 of STRING"),
        (of_tensor(LR, type=99), "tensor 0 of type 99"),
        (of_tensor(MAPS, isVariable=True), "tensor 3 is sparse or a variable"),
        (of_tensor(LR, shape=[1, 8000, 8000, 1]), "input 0 of 64000000 values"),
        (of_tensor(SR, name=b"sr\xff"), r"a name that is not UTF-8, b'sr\\xff'"),
        (of_quantization(KERNEL, scale=[1.0] * 11), "has 11 scales and 12 zero"),
        (of_quantization(KERNEL, zeroPoint=[0] * 3), "12 scales and 3 zero points"),
        (of_quantization(KERNEL, quantizedDimension=4), "channels of tensor 1: 4"),
        (of_quantization(KERNEL, quantizedDimension=-1), "channels of tensor 1: -1"),
        (of_quantization(LR, scale=[0.0]), "tensor 0 has a scale that is not a pos"),
        (of_quantization(LR, scale=[math.nan]), "tensor 0 has a scale that is not"),
        (of_quantization(LR, zeroPoint=[-129]), "tensor 0 has a zero point beyond"),
        (of_quantization(MAPS, scale=[], zeroPoint=[]), "integers without a scale"),
        (of_operator(0, opcodeIndex=2), "code of operator 0: 2, of 2"),
        (of_operator(0, inputs=[LR, 5, BIAS]), r"input of CONV_2D .*: 5, of 5"),
        (of_operator(0, inputs=[LR, -1, BIAS]), r"input of CONV_2D .*: -1, of 5"),
        (of_operator(0, inputs=[LR]), "has 1 inputs and 1 outputs"),
        (of_operator(0, inputs=[SR, KERNEL, BIAS]), "reads tensor 4, which nothing"),
        (of_operator(0, outputs=[KERNEL]), "writes tensor 1, which has values"),
        (of_operator(1, outputs=[-7]), "output of DEPTH_TO_SPACE .*: -7, of 5"),
        (of_operator(1, builtinOptions=None), "has no options"),
        (of_options(0, strideW=0), "has strideW 0"),
        (of_options(0, dilationHFactor=-1), "has dilationHFactor -1"),
        (of_options(0, padding=2), "has padding 2, which is not 0 to 1"),
        (
            of_options(0, fusedActivationFunction=77),
            "fusedActivationFunction 77, which",
        ),
        (of_options(1, blockSize=0), "has blockSize 0"),
        (of_graph(inputs=[5]), "tensor of an input: 5, of 5"),
        (of_graph(inputs=[KERNEL]), "input 1 is a constant"),
        (of_graph(outputs=[-1]), "tensor of an output: -1, of 5"),
        (of_graph(outputs=[]), "no output"),
        (become("WHILE"), "WHILE, an operator that image networks do not have"),
        (become("CUSTOM", b"Evil\x1b"), r"custom operator 'Evil\\x1b'"),
        (lambda model: model.subgraphs.append(model.subgraphs[0]), "2 graphs"),
    ],
)
def test_each_fault_is_named(enlarger, change, message):
    model = enlarger(white=1)
    change(model)
    with pytest.raises(InputError, match=rf"^m\.tflite: .*\(.*{message}") as caught:
        check(pack(model), "m.tflite")
    assert "\n" not in str(caught.value)


def test_numbers_that_constants_ask_for_are_bounded(enlarger):
    """Resizing to 100,000 pixels would take all memory."""
    model = enlarger()
    graph = model.subgraphs[0]
    become("RESIZE_BILINEAR")(model)
    graph.operators[1].inputs = [MAPS, BIAS]
    graph.operators[1].builtinOptions = schema.ResizeBilinearOptionsT()
    kind = schema.BuiltinOptions.ResizeBilinearOptions
    graph.operators[1].builtinOptionsType = kind
    graph.operators[0].inputs = [LR, KERNEL, -1]
    size, buffer = graph.tensors[BIAS], model.buffers[graph.tensors[BIAS].buffer]
    size.shape, size.type = [2], schema.TensorType.INT32
    for sides, sound in (((16, 20), True), ((100_000, 20), False), ((-1, 20), False)):
        buffer.data = np.array(sides, np.int32).view(np.uint8)
        if sound:
            check(pack(model), "m.tflite")
        else:
            with pytest.raises(InputError, match=f"has sides {sides[0]}x20"):
                check(pack(model), "m.tflite")


def test_offsets_that_lead_astray(enlarger):
    content = pack(enlarger())
    for at in range(0, 64, 4):
        for offset in (-1, 2**31 - 1, len(content) - 2):
            damaged = bytearray(content)
            struct.pack_into("<i", damaged, at, offset)
            with contextlib.suppress(InputError):  # and nothing else
                check(bytes(damaged), "m.tflite")


def test_damaged_graphs(enlarger):
    corpus = [pack(enlarger()), pack(enlarger(white=1))]
    counts = {"accepted": 0, "refused": 0}
    for use in (mutate, mutate_graph):
        found = survey(
            lambda content: check(content, "m.tflite"),
            corpus,
            cases=25,
            seed=0,
            allowed=InputError,
            mutate=use,
        )
        counts = {key: counts[key] + found[key] for key in counts}
    assert counts["refused"] > counts["accepted"] > 0
