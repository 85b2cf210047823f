import keras
import pytest

from tfsr.training import precision

X86 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f{}\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd{}\n"


@pytest.mark.parametrize(
    ("processor", "fast"),
    [
        (X86.format(""), set()),
        (X86.format(" avx512_bf16 avx512_fp16"), {"bfloat16", "float16"}),
        (X86.format(" amx_bf16"), {"bfloat16"}),
        (ARM.format(" fphp"), {"float16"}),
        (ARM.format(" fphp bf16"), {"bfloat16", "float16"}),
        ("processor\t: 0\nmodel name\t: bf16 of flags\n", set()),
        (None, set()),
    ],
)
def test_a_processor_is_asked(processor, fast, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    if processor is not None:
        file.write_text(processor)
    monkeypatch.setattr(precision, "PROCESSOR", file)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    found = {p for p in ("float16", "bfloat16", "float32") if precision.is_fast(p)}
    assert found == fast | {"float32"}


def test_a_gpu_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "none")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    assert precision.is_fast("bfloat16")
