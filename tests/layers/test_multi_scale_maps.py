import numpy as np
import pytest

from tfsr.layers import CONVS, BranchedConv2D, MultiScaleConv2D, multi_scale

LEVELLED = ("ms", "ms2", "ms2_without_lh", "ms2_without_hl", "ms3", "ms3_l", "unet")


def features(*channels):
    rng = np.random.default_rng(0)
    shapes = [(2, 8 >> i, 16 >> i, c) for i, c in enumerate(channels)]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def matrix(layer):
    """What stands in equation (1): kernel sizes in the order of the resampling."""

    def say(entry):
        words = []
        for step in entry:
            kind = type(step).__name__
            words.append(str(step.kernel_size) if step in layer.convs else kind[:3])
        return " ".join(words) or "I"

    return [
        [
            entry and say(entry) if entry else say([]) if entry == [] else "0"
            for entry in row
        ]
        for row in layer.matrix
    ]


def built(name, *arguments, levels=2, **kwargs):
    layer = CONVS[name](8, *arguments, **kwargs)
    layer.build([(None, None, None, 4)] * levels)
    return layer


# Table 2 and equations (2), (3) and (5); a number is the side of a kernel.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ms", [["3", "0"], ["0", "3"]]),
        ("ms2", [["3", "3 UpS"], ["Ave 3", "3"]]),
        ("ms2_without_lh", [["3", "0"], ["Ave 3", "3"]]),
        ("ms2_without_hl", [["3", "3 UpS"], ["0", "3"]]),
        ("ms3", [["3", "1 UpS"], ["Ave 1", "3"]]),
        ("ms3_l", [["3", "3 UpS"], ["Ave 3", "3"]]),
        ("octave", [["3", "3 UpS"], ["Ave 3", "3"]]),
        ("unet", [["I", "0"], ["0", "3"]]),
    ],
)
def test_matrices_of_two_levels(name, expected):
    layer = built(name)
    assert layer.filters == (4, 4)
    assert matrix(layer) == expected
    within = [layer.matrix[i][i][0] for i in range(2) if layer.matrix[i][i]]
    assert len(set(map(id, within))) == (1 if "ms3" in name or name == "unet" else 2)


def test_matrix_of_multigrid_is_equation_4():
    assert matrix(built("multigrid", levels=3)) == [
        ["3", "UpS 3", "0"],
        ["Max 3", "3", "UpS 3"],
        ["0", "Max 3", "3"],
    ]


def test_standard_is_one_convolution():
    layer = CONVS["standard"](8)
    layer.build([(None, None, None, 8)])
    assert layer.filters == (8,)
    assert matrix(layer) == [["3"]]


@pytest.mark.parametrize("name", sorted({*LEVELLED, "multigrid"} - {"unet"}))
def test_standard_is_the_one_level_case(name):
    (x,) = features(8)
    standard, other = CONVS["standard"](8), CONVS[name](8, levels=1)
    (expected,) = standard([x])
    other.build([x.shape])
    other.set_weights(standard.get_weights())
    np.testing.assert_array_equal(other([x])[0], expected)


def test_octave_at_one_half_is_ms2():
    x = features(4, 4)
    octave, ms2 = CONVS["octave"](8, ratio=0.5), CONVS["ms2"](8)
    expected = ms2(x)
    octave.build([y.shape for y in x])
    octave.set_weights(ms2.get_weights())
    for ours, theirs in zip(octave(x), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("ratio", "filters"), [(0.25, (12, 4)), (0.125, (14, 2))])
def test_octave_divides_the_channels(ratio, filters):
    layer = CONVS["octave"](16, ratio=ratio)
    assert [y.shape[-1] for y in layer(features(*filters))] == list(filters)


@pytest.mark.parametrize("name", CONVS)
def test_each_takes_the_size_of_its_kernels(name):
    layer = built(name, 1, levels=3 if name == "multigrid" else 2)
    assert {conv.kernel_size for conv in layer.convs} == {1}


@pytest.mark.parametrize("name", LEVELLED)
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_levels(name, levels):
    layer = multi_scale(name, levels)(8)
    assert layer.filters == ((8,) if levels == 1 else (4,) * levels)


def test_without_levels_those_of_the_equation():
    counts = {name: len(multi_scale(name)(8).filters) for name in CONVS}
    assert counts.pop("standard") == 1
    assert counts.pop("multigrid") == 3
    assert set(counts.values()) == {2}


def test_the_functions_of_table_1_are_branches():
    for name in CONVS:
        is_function = "w_d" in name
        kind = BranchedConv2D if is_function else MultiScaleConv2D
        assert type(CONVS[name](8)) is kind
        assert not is_function or CONVS[name](8).function == name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: multi_scale("ms4"), r"`conv` must be one of standard.*: conv=ms4\."),
        (lambda: multi_scale("standard", 2), r"left out for standard.*: levels=2\."),
        (lambda: multi_scale("w_d2", 2), r"left out for w_d2.*Received: levels=2\."),
        (lambda: multi_scale("ms", 5), r"`levels` must be 1 to 4.*: levels=5\."),
        (lambda: multi_scale("ms", 0), r"`levels` must be 1 to 4.*: levels=0\."),
        (lambda: multi_scale("ms", 2.0), r"`levels` must be 1 to 4.*: levels=2\.0\."),
        (lambda: CONVS["ms"](7), r"`filters` must be even.*Received: filters=7\."),
        (lambda: CONVS["octave"](8, ratio=1), r"`ratio` must leave.*ratio=1, filt"),
        (lambda: CONVS["octave"](8, ratio=0.01), r"`ratio` must leave.*ratio=0\.01"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
