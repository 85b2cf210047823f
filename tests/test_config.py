import re
import tomllib
from pathlib import Path
from unittest.mock import Mock

import pytest

from tfsr.data import JPEG, Bicubic, Chain, GaussianNoise
from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError
from tfsr.models import MODELS, scales
from tfsr.toml import to_toml
from tfsr.training import build_model, read_config

ROOT = Path(__file__).parents[1]

TINY = """
[model]
name = "carn_m"
scale = 2
filters = 8

[data]
train = ["images"]
val = "val"

[train]
epochs = 2
steps_per_epoch = 3
batch = 4
patch = 8
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "tiny.toml"
        file.write_text(text)
        return file

    return write


@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize(
    "file", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda file: file.stem
)
def test_every_config_reads_and_builds(file):
    config = read_config(file)
    model = build_model(config.model, file)
    wanted = config.model.get("scale", [2, 3, 4])
    assert scales(model) == tuple(wanted if isinstance(wanted, list) else [wanted])
    # The header gives the command, so that it can be copied.
    path = file.relative_to(ROOT)
    command = f"# tfsr train {path} --out runs/"
    if config.quantize:
        command = rf"# tfsr quantize-train \S+ --config {path}"
    assert re.search(command, config.text)


def test_values_and_defaults(write):
    config = read_config(write(TINY))
    assert config.model == {"name": "carn_m", "scale": 2, "filters": 8}
    assert config.data.train == ["images"]
    assert config.data.channels == 3
    assert (config.train.epochs, config.train.batch) == (2, 4)
    assert config.train.optimizer == "adam"
    assert config.train.schedule == {"name": "constant"}
    assert config.train.clip_norm is None
    assert config.text == TINY


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.learning_rate=1e-3", "train", "learning_rate", 1e-3),
        ("train.epochs = 7", "train", "epochs", 7),
        ("train.clip_norm=2", "train", "clip_norm", 2),
        ("data.val=other/folder", "data", "val", "other/folder"),
        ('data.val="quoted"', "data", "val", "quoted"),
        ('data.train=["a", "b"]', "data", "train", ["a", "b"]),
        (
            'train.schedule={name = "halve", every = 5}',
            "train",
            "schedule",
            {"name": "halve", "every": 5},
        ),
    ],
)
def test_overrides(write, override, section, key, value):
    config = read_config(write(TINY), [override])
    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize(
    ("overrides", "task"),
    [
        ([], Bicubic()),
        (["degradation=noise", "sigma=25"], GaussianNoise(25)),
        (
            ["degradation=noise", "sigma=[5, 50]", "noise=uint8"],
            GaussianNoise([5, 50], "uint8"),
        ),
        (["degradation=jpeg", "quality=10"], JPEG(10)),
        (['degradation={name = "jpeg", quality = 10}'], JPEG(10)),
        (['degradation=[{name = "jpeg", quality = [10, 40]}]'], JPEG([10, 40])),
        (
            [
                'degradation=[{name = "bicubic"}, {name = "noise", sigma = [0, 10]}, '
                '{name = "jpeg", quality = [30, 95]}]'
            ],
            Chain((BICUBIC, GaussianNoise([0, 10]), JPEG([30, 95]))),
        ),
    ],
)
def test_tasks(write, overrides, task):
    config = read_config(write(TINY), [f"data.{override}" for override in overrides])
    assert config.data.task == task
    assert read_config(write(config.text)).data.task == task


def test_both_ways_to_write_a_degradation_are_one_experiment(write):
    word = read_config(write(TINY), ["data.degradation=jpeg", "data.quality=10"])
    table = 'data.degradation={name = "jpeg", quality = 10}'
    assert not word.differing(read_config(write(TINY), [table]))
    other = read_config(write(TINY), [table.replace("10", "20")])
    assert word.differing(other) == ["data.quality"]
    both = table.replace("=", "=[", 1) + ', {name = "noise", sigma = 5}]'
    assert "data.degradation" in word.differing(read_config(write(TINY), [both]))


def test_the_text_keeps_what_a_file_says_of_itself(write):
    config = read_config(write("# What it is.\n" + TINY), ["train.epochs=7"])
    head, _, table = config.text.partition("\n")
    assert head == "# What it is."
    assert table == read_config(write(TINY), ["train.epochs=7"]).text


def test_the_text_reads_as_the_config(write):
    overrides = ["train.epochs=7", "data.val=other", "model.scale=[2, 3]"]
    overrides.append('train.schedule={name = "halve", every = 5}')
    config = read_config(write(TINY), overrides)
    again = read_config(write(config.text))
    assert (again.model, again.data, again.train) == (
        config.model,
        config.data,
        config.train,
    )
    assert again.text == config.text


def test_overridden_configs_are_written_as_read(write):
    text = 'a "b" \\ \x7f \u00e9 \n'
    written = {
        "model.odd key": text,
        "data.when": "1979-05-27",
        "data.list": '[1, -2.5e-8, inf, true, ["x", { a = 1, "b c" = [] }], {}]',
    }
    tables = tomllib.loads(TINY)
    for key, value in written.items():
        parsed = text if value is text else tomllib.loads(f"v = {value}")["v"]
        section, _, name = key.partition(".")
        tables[section][name] = parsed
    assert tomllib.loads(to_toml(tables)) == tables


def test_overrides_of_the_model(write):
    overrides = ["model.scale=[2, 3]", "model.groups=2"]
    config = read_config(write(TINY), overrides)
    assert scales(build_model(config.model, "tiny.toml")) == (2, 3)
    assert config.model["groups"] == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.epoch=3",
            r"tiny\.toml: \[train\] has no key 'epoch'; allowed: epochs,",
        ),
        (
            "data.valid=x",
            r"tiny\.toml: \[data\] has no key 'valid'; allowed: train, val",
        ),
        (
            "model.filter=3",
            r"tiny\.toml: \[model\] has no key 'filter'; allowed for carn_m: .*filters",
        ),
        (
            "model.recursive=False",
            r"\[model\] recursive must be true or false, not 'Fal",
        ),
        ("model.name=carm", r"tiny\.toml: \[model\] name is 'carm'; allowed: carn, "),
        ("extra.key=1", r"tiny\.toml: unknown table \[extra\]; allowed: model, data"),
        ("train.epochs=2.5", r"\[train\] epochs must be an integer, not 2\.5"),
        ("train.epochs=true", r"\[train\] epochs must be an integer, not True"),
        ("train.epochs=many", r"\[train\] epochs must be an integer, not 'many'"),
        ("train.learning_rate=fast", r"learning_rate must be a number, not 'fast'"),
        ("train.clip_norm=true", r"clip_norm must be a number, not True"),
        (
            "data.train=images",
            r"""\[data\] train must be a list of texts such as \["a", "b"\], not 'im""",
        ),
        (
            "data.train=[1]",
            r"\[data\] train must be a list of texts .*, not \[1\]",
        ),
        (
            "data.exclude=a",
            r"\[data\] exclude must be a list of texts .*, not 'a'",
        ),
        (
            "data.train_lr=['a', 'b']",
            "train_lr must name a folder for each one",
        ),
        ("data.sigma=x", r"\[data\] sigma must be a number or a list of numbers, not"),
        ("data.sigma=['a']", r"sigma must be a number or a list of numbers, not \['a"),
        ("data.quality=9.5", r"quality must be an integer or a list of integers, not"),
        ("data.sigma=25", r'\[data\] sigma is not for degradation = "bicubic"'),
        ("data.degradation=noise", r'\[data\] degradation = "noise" needs sigma'),
        ("data.degradation=fog", r"degradation must be one of bicubic, .*, not 'fog'"),
        ("data.degradation=3", r"degradation must be a table or a list of tables, not"),
        ("data.degradation=['jpeg']", r"a table or a list of tables, not \['jpeg'\]"),
        ("data.degradation=[]", r"\[data\] degradation must have a table or more"),
        (
            'data.degradation={name = "jpeg", quality = "x"}',
            r"tiny\.toml: \[data\] quality must be an integer or a list of integers, n",
        ),
        (
            'data.degradation=[{name = "jpeg", quality = 5, sigma = 3}]',
            r'\[data\] sigma is not for degradation = "jpeg"; allowed: quality',
        ),
        (
            'data.degradation=[{name = "jpeg", quality = 0}]',
            r"\[data\] `quality` must be from 1 to 100.* Received: quality=0",
        ),
        ("data.val=[]", r"\[data\] val must be a text, not \[\]"),
        ("train.epochs=0", r"\[train\] epochs must be positive, not 0"),
        ("train.batch=-1", r"\[train\] batch must be positive, not -1"),
        ("train.learning_rate=nan", r"\[train\] learning_rate must be positive"),
        ("train.learning_rate=inf", r"\[train\] learning_rate must be finite, not inf"),
        ("train.clip_norm=inf", r"\[train\] clip_norm must be finite, not inf"),
        ("train.clip_norm=nan", r"\[train\] clip_norm must be positive, not nan"),
        ("train.clip_norm=0", r"\[train\] clip_norm must be positive, not 0"),
        ("train.clip_norm=-1.5", r"\[train\] clip_norm must be positive, not -1\.5"),
        ("train.seed=-1", r"\[train\] seed must be between 0 and 2\*\*32 - 1, not -1"),
        ("train.seed=4294967296", r"seed must be between .*, not 4294967296"),
        ("train.optimizer=lamb", r"optimizer must be one of adam, sgd, not 'lamb'"),
        ("train.loss=l3", r"loss must be one of l1, l2, l2_sum, charbonnier, not 'l3'"),
        (
            "train.mixed_precision=half",
            r"must be one of float32, float16, bfloat16, not 'half'",
        ),
        ("train.clip_value=0", r"\[train\] clip_value must be positive, not 0"),
        ("train.weight_decay=inf", r"weight_decay must be finite, not inf"),
        ("train.l2_penalty=-1", r"\[train\] l2_penalty must be positive, not -1"),
        ("train.ema=1", r"\[train\] ema must be between 0 and 1, not 1"),
        ("train.accumulate=0", r"\[train\] accumulate must be positive, not 0"),
        (
            "train.steps_per_execution=2",
            r"must divide the 3 batches .*, not 2",
        ),
        ("train.deterministic=1", r"deterministic must be true or false, not 1"),
        ("train.schedule=cosine", r"\[train\] schedule must be a table, not 'cosine'"),
        ("train.schedule={}", r"schedule must be .*cosine.*warmup.*halve.*every"),
        ('train.schedule={name = "poly"}', r"schedule must be .*halve.*, not .*poly"),
        (
            'train.schedule={name = "step"}',
            r"every = .*, factor = .* }, not .*step",
        ),
        (
            'train.schedule={name = "step", every = 5, factor = 1}',
            r"schedule: factor must be between 0 and 1, not 1",
        ),
        ('train.schedule={name = "halve"}', r"schedule must be .*every = "),
        (
            'train.schedule={name = "halve", every = 5, warmup = 1}',
            r"schedule must be .*every = ",
        ),
        (
            'train.schedule={name = "halve", every = 0}',
            r"schedule: every must be a number of steps, not 0",
        ),
        (
            'train.schedule={name = "cosine", warmup = 1.5}',
            r"schedule: warmup must be a number of steps, not 1\.5",
        ),
        ("train.epochs", r"override train\.epochs: must be section\.key=value"),
        ("epochs=3", r"override epochs=3: must be section\.key=value"),
        ("=3", r"override =3: must be section\.key=value"),
        ("train.=3", r"override train\.=3: must be section\.key=value"),
    ],
)
def test_bad_values(write, override, message):
    with pytest.raises(InputError, match=message):
        read_config(write(TINY), [override])


def test_luma_is_degraded_by_bicubic_alone(write):
    degradation = '[{name = "bicubic"}, {name = "jpeg", quality = 5}]'
    overrides = ['data.channels="y"', f"data.degradation={degradation}"]
    with pytest.raises(InputError, match=r'channels = "y" needs degradation = "bicub'):
        read_config(write(TINY), overrides)


def test_parameters_stand_in_the_table_or_beside_the_word(write):
    table = 'data.degradation={name = "jpeg", quality = 5}'
    with pytest.raises(InputError, match=r"\[data\] has no key 'quality'; allowed: tr"):
        read_config(write(TINY), [table, "data.quality=6"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("clip_norm", "clip_value"), "clip_norm and clip_value exclude each other"),
        (("weight_decay", "l2_penalty"), "weight_decay and l2_penalty exclude each"),
    ],
)
def test_keys_that_exclude_each_other(write, keys, message):
    with pytest.raises(InputError, match=message):
        read_config(write(TINY), [f"train.{key}=0.1" for key in keys])


@pytest.mark.parametrize("key", ["train", "val", "epochs", "batch", "patch"])
def test_missing_keys(write, key):
    text = "\n".join(
        line for line in TINY.splitlines() if not line.startswith(f"{key} =")
    )
    with pytest.raises(InputError, match=rf"tiny\.toml: \[\w+\] needs the key '{key}'"):
        read_config(write(text))


@pytest.mark.parametrize("section", ["model", "data", "train"])
def test_missing_tables(write, section):
    head, _, rest = TINY.partition(f"[{section}]")
    rest = rest[rest.index("\n[") :] if "\n[" in rest else ""
    with pytest.raises(InputError, match=rf"tiny\.toml: needs a table \[{section}\]"):
        read_config(write(head + rest))


def test_a_model_without_a_name(write):
    with pytest.raises(InputError, match=r"\[model\] name is None; allowed: carn, "):
        read_config(write(TINY.replace('name = "carn_m"\n', "")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[model", r"tiny\.toml: not valid TOML"),
        (b"\xff\xfe", r"tiny\.toml: not valid TOML"),
        (b"model = 3\n[data]\n[train]\n", r"tiny\.toml: needs a table \[model\]"),
    ],
)
def test_bad_files(tmp_path, content, message):
    (tmp_path / "tiny.toml").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "tiny.toml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot be read \(.*\)\.$"):
        read_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", ["carn_m", "configs/carn/carn_m.toml"])
def test_configs_that_come_along_are_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"^{name}: .*; tfsr has .*carn/carn_m\b"):
        read_config(name)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.scale=5", r"tiny\.toml: \[model\] .*Received: scale=5"),
        ("model.scale=[2, 7]", r"tiny\.toml: \[model\] .*Received: scale=7"),
        ("model.scale=two", r"tiny\.toml: \[model\] .*Received: scale=two"),
        ("model.scale=[2, 2]", r"tiny\.toml: \[model\] .*Received: scale=\(2, 2\)"),
        ("model.scale=[]", r"tiny\.toml: \[model\] .*Received: scale=\(\)"),
        ("model.scale=2.0", r"tiny\.toml: \[model\] .*Received: scale=2\.0"),
        ("model.channels=4", r"tiny\.toml: \[model\] .*Received: channels=4"),
        ("model.groups=3", r"tiny\.toml: \[model\] .*Received: groups=3, filters=8"),
        ("model.groups=0", r"tiny\.toml: \[model\] .*Received: groups=0, filters=8"),
        ("model.filters=wide", r"tiny\.toml: \[model\] .*Received: filters=wide"),
        ("model.filters=-8", r"tiny\.toml: \[model\] .*Received: filters=-8"),
        ("model.filters=8.0", r"tiny\.toml: \[model\] .*Received: filters=8\.0"),
        ("model.blocks=0", r"tiny\.toml: \[model\] .*Received: blocks=0"),
        ("model.units=true", r"tiny\.toml: \[model\] .*Received: units=True"),
        ("model.scale=[2, inf]", r"tiny\.toml: \[model\] scale must be at most 4096"),
    ],
)
def test_arguments_that_the_builder_rejects(write, override, message):
    config = read_config(write(TINY), [override])
    with pytest.raises(InputError, match=message):
        build_model(config.model, "tiny.toml")


@pytest.mark.parametrize("override", ["train=3", "train.epochs.x=3", "model=3"])
def test_overrides_that_do_not_fit_the_tables(write, override):
    with pytest.raises(InputError, match=f"override {override}|tiny"):
        read_config(write(TINY), [override])


def test_an_override_of_what_is_no_table(write):
    with pytest.raises(InputError, match="model"):
        read_config(write("model = 3"), ["model.scale=2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 3000 + "]" * 3000, "not valid TOML"),
        ("a = " + "1" * 4301, "not valid TOML"),
        (TINY.replace('"carn_m"', "[[]]"), r"name is \[\[\]\]; allowed"),
        (TINY.replace('"carn_m"', "{ a = 1 }"), "name is {'a': 1}; allowed"),
        (TINY + "schedule = { name = [[]] }", "schedule must be"),
        (TINY + "schedule = { name = {} }", "schedule must be"),
    ],
)
def test_odd_toml_is_refused_in_a_line(write, text, message):
    with pytest.raises(InputError, match=rf"tiny\.toml: .*{message}") as caught:
        read_config(write(text))
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_read_over(write):
    assert read_config(write("\ufeff" + TINY)).model == read_config(write(TINY)).model


def test_a_model_larger_than_the_memory_is_named(monkeypatch):
    monkeypatch.setitem(MODELS, "carn_m", Mock(side_effect=MemoryError))
    model = {"name": "carn_m", "scale": 2}
    with pytest.raises(InputError, match=r"tiny\.toml: \[model\] asks for more memory"):
        build_model(model, "tiny.toml")


def test_counts_without_end_are_refused_before_anything_is_built(monkeypatch):
    monkeypatch.setitem(MODELS, "carn_m", Mock())
    for count in (2**31, 2**70):
        model = {"name": "carn_m", "scale": 2, "filters": count}
        message = rf"tiny\.toml: \[model\] filters must be at most 4096, not {count}"
        with pytest.raises(InputError, match=message):
            build_model(model, "tiny.toml")
    assert not MODELS["carn_m"].called
