import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr.data import JPEG, BenchmarkFolder, GaussianNoise
from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError
from tfsr.graph.complexity import mult_adds_720p
from tfsr.models import carn_m, srresnet
from tfsr.report import scores, zoo
from tfsr.report.models import (
    FLOAT,
    PTQ,
    QAT,
    Comparison,
    Model,
    Run,
    names_of,
)
from tfsr.report.page import write
from tfsr.report.published import published_networks
from tfsr.scoring import comparison
from tfsr.scoring.evaluation import evaluate
from tfsr.tflite.benchmark import kept
from tfsr.tflite.quantization.integers import IntegerUpscaler
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.upscalers import BicubicUpscaler, KerasUpscaler
from tfsr.zoo import catalogue

VOID = {"img", "meta", "link", "input", "br", "wbr"}
CLEAN = ("carn_m", "sesr_l", "sesr_m", "sesr_s")  # released, for clean photos


class Page(HTMLParser):
    """The elements of a page, and the figures in the rows of its tables."""

    def __init__(self, file):
        super().__init__()
        self.elements, self.open, self.rows = [], [], {}
        self.feed(file.read_text())
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.head, self.figures = "", []
        if tag == "data":
            self.figures.append(float(attrs["value"]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr":
            self.rows.setdefault(self.head.strip(), self.figures)

    def handle_data(self, data):
        if self.open and self.open[-1] == "th":
            self.head += data


def network_rows(page):
    """Returns name and kind of the models of a page, by network."""
    text = page.read_text().replace("<wbr>", "")
    networks = re.findall(r'<tbody class="network">.*?</tbody>', text, re.S)
    return [re.findall(r'row">(\w+) <small>(\w+)', network) for network in networks]


@pytest.fixture(scope="module")
def page(made):
    return Page(made / "index.html")


def test_every_picture_is_there_and_described(made, page):
    pictures = [attrs for tag, attrs in page.elements if tag == "img"]
    # Two to compare, four charts, two curves, four images in five versions and HR.
    assert len(pictures) == 2 + 4 + 2 + 4 * 6
    for picture in pictures:
        assert len(picture["alt"]) > 10
        with Image.open(made / picture["src"]) as image:
            image.verify()
    assert len({p["alt"] for p in pictures}) == len(pictures)


def test_nothing_is_loaded_from_elsewhere(made, page):
    for _, attrs in page.elements:
        for key in ("src", "href", "srcset", "action", "poster"):
            assert not re.match(r"\w+:(?!,$)|//", attrs.get(key, "")), attrs
    assert not re.search(r"url\(|@import|https?://", (made / "index.html").read_text())


def test_labels_and_links_lead_somewhere(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for tag, attrs in page.elements:
        for key in ("for", "aria-labelledby"):
            assert attrs.get(key, ids[0]) in ids
        if tag == "a" and attrs["href"].startswith("#"):
            assert attrs["href"][1:] in ids
        if tag == "input":
            assert attrs.get("aria-label") or attrs.get("id") in ids


def test_what_papers_print_is_marked_as_theirs(page):
    alts = [attrs["alt"] for tag, attrs in page.elements if tag == "img"]
    mult_adds, latency = (
        next(alt for alt in alts if f"Set5 against {cost}" in alt)
        for cost in ("mult-adds", "latency")
    )
    assert "CARN-M (paper) 37.53 dB at 91.2" in mult_adds
    assert mult_adds.count("(paper)") == 4
    assert "small_int8" not in mult_adds
    assert "(paper)" not in latency
    assert "small_int8 " in latency
    assert page.rows["CARN-M"] == [37.53, 91.2, 412]


def test_the_zoo_has_what_comes_along_and_others(page):
    alts = [attrs["alt"] for tag, attrs in page.elements if tag == "img"]
    (shown,) = (alt for alt in alts if "CARN-M = 1" in alt)
    assert "SESR-XL 33.24 dB at 0.168" in shown
    for model in catalogue.models()["released"]:
        share, psnr = (model[key] for key in ("int8_latency_of_carn_m", "psnr_y"))
        for_clean = model["scale"] == 2 and model["name"] in CLEAN
        at = f"{model['name']} {psnr.get('Set14', 0):.2f} dB at {share or 0:.3g}"
        assert (at in shown) == for_clean
    assert zoo.draw("zoo.png", [3], (4, 4)) is None  # of others nothing is known


def test_the_figures_are_those_of_evaluate(runs, made, page, set5):
    test = BenchmarkFolder(set5, 2)
    model, aware = (tfsr.load_model(runs / name) for name in ("small", "aware"))
    upscalers = {
        "bicubic": BicubicUpscaler(2),
        "small": KerasUpscaler(model, 2),
        "small_int8": TFLiteUpscaler(runs / "small_int8.tflite"),
        "aware": IntegerUpscaler(aware, 2),
    }
    report = json.loads((made / "report.json").read_text())
    models = {row["name"]: row for row in [report["baseline"], *report["models"]]}
    for name, upscaler in upscalers.items():
        mean = evaluate(upscaler, test)["mean"]
        assert page.rows[name][:2] == [mean["psnr_y"], mean["ssim_y"]]
        assert models[name]["scores"]["Set5"]["psnr"] == mean["psnr_y"]
    kinds = {row["name"]: row["kind"] for row in report["models"]}
    assert kinds == {
        "small": "float",
        "small_int8": "PTQ",
        "small_dynamic": "PTQ",
        "aware": "QAT",
    }
    assert models["small_int8"]["params"] == tfsr.graph.complexity.params(model)
    assert models["aware"]["mult_adds"] == mult_adds_720p(model, 2)
    assert page.rows["small_int8"][2] == models["small_int8"]["latency_ms"] > 0


def test_what_8_bits_change_stands_beside_float(made):
    text = re.sub(r"<[^>]+>", "", (made / "index.html").read_text())
    report = json.loads((made / "report.json").read_text())
    exact, *others = (next(iter(row["scores"].values())) for row in report["models"])
    for row in others:
        assert f"({row['psnr'] - exact['psnr']:+.2f})" in text
    assert network_rows(made / "index.html") == [
        [
            ("small", "float"),
            ("small_int8", "PTQ"),
            ("small_dynamic", "PTQ"),
            ("aware", "QAT"),
        ]
    ]


def test_a_file_trained_for_8_bits_goes_with_its_network(
    runs, run, photographs, tmp_path
):
    file = tmp_path / "trained.tflite"
    convert = ["convert", runs / "aware", "--format", "int8", "--size", "40x48"]
    assert run(*convert, "--verify", photographs, "-o", file)[0] == 0
    out = tmp_path / "out"
    report = ["report", file, runs / "small", "--test", photographs, "--no-latency"]
    assert run(*report, "-o", out)[0] == 0
    assert network_rows(out / "index.html") == [
        [("small", "float"), ("trained", "QAT")],
    ]


class Flat:
    """Restores one gray."""

    scale, channels, depth, alignment = 1, 1, 24, 1

    def __init__(self, level):
        self.level = level

    def __call__(self, lr):
        return np.full_like(lr, self.level / 255)


@pytest.fixture
def flats(tmp_path):
    """Returns a function that compares models by name, levels of their seeds, kind and
    origin on an image of 0 and one of 100, and writes the page; it returns the file."""
    for level in (0, 100):
        image = Image.fromarray(np.full((20, 20), level, np.uint8))
        (tmp_path / "test").mkdir(exist_ok=True)
        image.save(tmp_path / "test" / f"{level}.png")
    noise = GaussianNoise(25)
    test = BenchmarkFolder(tmp_path / "test", 1, 1, degradation=noise)

    def flat(name, level):
        return Run(name, Flat(level), f"{name} {level}")

    def write_page(*models):
        models = [
            Model(name, [flat(name, i) for i in levels], kind, origin, {"name": "flat"})
            for name, levels, kind, origin in models
        ]
        compared = Comparison(models, {"test": test}, noise)
        scores.score(compared, tmp_path / "results")
        write(tmp_path, compared)
        return tmp_path / "index.html"

    return write_page


def test_what_is_perfect_is_shown(flats):
    page = flats(("black", [0], FLOAT, "a"), ("gray", [90], FLOAT, "b"))
    assert Page(page).rows["black"][0] == np.inf
    report = json.loads(page.with_name("report.json").read_text())
    assert report["models"][0]["scores"]["test"]["psnr"] == "inf"
    alts = [a["alt"] for t, a in Page(page).elements if t == "img"]
    (gains,) = (alt for alt in alts if alt.startswith("Gain over input"))
    assert re.search(r"black from -\S+ dB \(100\) to -\S+ dB \(100\); gray", gains)


def losses_on(page):
    return [float(x) for x in re.findall(r"<small>\(([-+.\d]+)\)", page.read_text())]


def test_8_bits_are_set_against_their_own_weights(flats):
    page = flats(
        ("first", [90], FLOAT, "a"),
        ("second", [80], FLOAT, "b"),
        ("second_int8", [79], PTQ, "b"),
        ("trained", [78], QAT, "c"),
    )
    assert network_rows(page) == [
        [
            ("first", "float"),
            ("second", "float"),
            ("second_int8", "PTQ"),
            ("trained", "QAT"),
        ]
    ]
    psnr = {name: figures[0] for name, figures in Page(page).rows.items() if figures}
    expected = [
        psnr["second_int8"] - psnr["second"],
        psnr["trained"] - psnr["first"],
    ]
    assert losses_on(page) == pytest.approx(expected, abs=0.01)


def test_8_bits_are_set_against_their_own_seed(flats):
    alone = flats(("one", [60], FLOAT, "one 60"), ("int8", [59], PTQ, "one 60"))
    expected = losses_on(alone)
    for seeds in ([90, 60], [60, 90]):
        origin = f"one {seeds[0]}"
        page = flats(("one", seeds, FLOAT, origin), ("int8", [59], PTQ, "one 60"))
        assert losses_on(page) == expected


def test_training_for_8_bits_is_set_against_all_seeds(flats):
    page = flats(("one", [90, 60], FLOAT, "a"), ("trained", [78, 80], QAT, "b"))
    report = json.loads(page.with_name("report.json").read_text())
    exact, trained = (row["scores"]["test"]["psnr"] for row in report["models"])
    assert losses_on(page) == [pytest.approx(trained - exact, abs=0.01)]


def test_what_is_measured_is_not_measured_again(runs, made, run, set5, monkeypatch):
    def again(*arguments, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr(scores, "evaluate", again)
    monkeypatch.setattr(kept, "benchmark", again)
    report = json.loads((made / "report.json").read_text())
    models = [runs / name for row in report["models"] for name in row["sources"]]
    arguments = ["--test", set5, "-o", made]
    assert run("report", *models, *arguments)[0] == 0
    assert json.loads((made / "report.json").read_text()) == report
    with pytest.raises(AssertionError, match="measured again"):
        run("report", *models[:2], *arguments)  # the latency of fewer in turns


def test_other_weights_are_scored_anew(run, tmp_path, set5):
    arguments = ["--test", set5, "-o", tmp_path / "out", "--no-latency", "--json"]
    file = tmp_path / "model.keras"
    figures = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        carn_m(2, filters=8, blocks=1, units=1, groups=2).save(file)
        code, out, err = run("report", file, *arguments)
        assert code == 0, err
        figures.append(json.loads(out)["models"][0]["scores"]["Set5"]["psnr"])
    assert figures[0] != figures[1]


def test_other_images_are_scored_anew(photographs, tmp_path):
    test = tmp_path / "test"
    hr = shutil.copytree(photographs, test / "HR")

    def score():
        folder = BenchmarkFolder(test, 2)
        compared = Comparison([], {"test": folder}, folder.degradation)
        scores.score(compared, tmp_path / "results")
        return compared.baseline_scores["test"]["mean"]["psnr_y"]

    figures = [score()]
    lr = test / "LR_bicubic" / "X2"
    lr.mkdir(parents=True)
    for file in hr.iterdir():
        with Image.open(file) as image:
            half = image.resize((image.width // 2, image.height // 2))
            half.save(lr / f"{file.stem}x2.png")
    figures.append(score())
    for file in lr.iterdir():
        with Image.open(file) as image:
            image.point(lambda value: value // 2).save(file)
    figures.append(score())
    assert len(set(figures)) == 3
    assert score() == figures[-1]


def test_no_file_tells_the_folders_it_was_made_from(runs, made, set5):
    texts = [file for file in made.rglob("*") if file.suffix in (".html", ".json")]
    assert len(texts) == 2 + 1 + 5  # the page, its figures, latency and scores
    for file in texts:
        text = file.read_text()
        assert str(runs) not in text
        assert str(set5.parent) not in text


def test_a_study_brings_its_networks_and_seeds(runs, run, tmp_path, photographs):
    study = tmp_path / "study"
    for seed in (0, 1):
        (study / "small").mkdir(parents=True, exist_ok=True)
        (study / "small" / f"seed_{seed}").symlink_to(runs / "small")
    (study / "tflite").mkdir()
    (study / "tflite" / "small_int8.tflite").symlink_to(runs / "small_int8.tflite")
    networks = [{"name": "small", "seeds": [0, 1]}, {"name": "later", "seeds": []}]
    (study / "study.json").write_text(json.dumps({"scale": 2, "networks": networks}))
    arguments = ["--test", photographs, "-o", tmp_path / "out", "--no-latency"]
    code, out, err = run("report", study, *arguments)
    assert code == 0, err
    assert out == f"{tmp_path / 'out' / 'index.html'}\n"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    float_model, int8 = report["models"]
    assert (float_model["name"], int8["name"]) == ("small", "small int8")
    assert float_model["sources"] == ["seed_0", "seed_1"]
    assert next(iter(float_model["scores"].values()))["psnr_std"] == 0
    assert int8["latency_ms"] is report["latency"] is None


def test_a_restorer_is_set_beside_its_input(make_restorer, run, tmp_path, photographs):
    restorer = make_restorer(1, {"degradation": "noise", "sigma": 25})
    arguments = ["--test", photographs, "-o", tmp_path / "out"]
    code, _, err = run("report", restorer, *arguments)
    assert code == 0, err
    page = Page(tmp_path / "out" / "index.html")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["baseline"]["name"] == "input"
    test = BenchmarkFolder(photographs, 1, 1, degradation=GaussianNoise(25))
    model = KerasUpscaler(tfsr.load_model(restorer), 1)
    assert page.rows["restorer"][0] == evaluate(model, test)["mean"]["psnr"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small"], "report: needs -o DIR."),
        (["small", "-o", "out"], "report: needs --test FOLDER."),
        (["bicubic", "-o", "out", "--test", "images"], "report: needs a RUN."),
        (["small", "--lan"], "--lan: is for --serve DIR."),
        (["--serve", "small"], "small: no report in it; make one with tfsr report."),
        (["--serve", "out", "--test", "images"], "--serve: takes the folder of a"),
        (["nowhere", "-o", "out", "--test", "images"], "nowhere: no such model"),
        (["small", "-o", "out", "--test", "nowhere"], "nowhere: not a folder"),
        (["small", "small", "-o", "out", "--test", "images"], "small: is given twice"),
        (
            ["small", "-o", "out", "--test", "images", "--try", "small"],
            "small: the box runs .tflite files; make one with tfsr convert.",
        ),
        (
            ["small", "-o", "out", "--test", "images", "--try", "small_int8.tflite"],
            "no LiteRT.js in it; run npm install @litertjs/core@2.5.3 there, or name",
        ),
        (["--serve", "out", "--port", "70000"], "'70000' is not from 0 to 65535"),
    ],
)
def test_mistakes_are_one_line(
    runs, run, photographs, tmp_path, monkeypatch, arguments, message
):
    for name in ("small", "small_int8.tflite"):
        (tmp_path / name).symlink_to(runs / name)
    (tmp_path / "images").symlink_to(photographs)
    monkeypatch.chdir(tmp_path)
    code, out, err = run("report", *arguments)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("tfsr: ")
    assert message in last


def test_models_of_two_tasks_are_refused(runs, run, make_restorer, tmp_path):
    restorer = make_restorer(3, {"degradation": "jpeg", "quality": 20})
    code, _, err = run(
        "report", runs / "small", restorer, "--test", "x", "-o", tmp_path / "out"
    )
    assert code == 2
    assert (
        f"{restorer}: is restoration from JPEG of quality 20 of RGB where "
        f"{runs / 'small'} is x2 of RGB; a report compares models of one task."
    ) in err
    assert not (tmp_path / "out").exists()


def test_names_are_as_short_as_tells_them_apart():
    paths = [Path("runs/a/best"), Path("runs/b/best"), Path("c.keras"), Path("d0.1")]
    assert names_of(paths) == ["a/best", "b/best", "c", "d0.1"]
    assert names_of([Path("c.keras"), Path("c.tflite")]) == ["c.keras", "c.tflite"]
    with pytest.raises(InputError, match="c: is given twice"):
        names_of([Path("c"), Path("d"), Path("c")])


def test_what_papers_print(shared):
    tables = json.loads((shared / "reference" / "paper_tables.json").read_text())
    theirs = {p["name"]: p for p in tables["carn"]}
    for scale in (2, 3, 4):
        ours = {p.name: p for p in published_networks(scale, BICUBIC)}
        for name, key in (("CARN", "carn"), ("CARN-M", "carn_m")):
            expected = theirs[key]["mult_adds_g"][str(scale)]
            assert ours[name].mult_adds == round(expected * 1e9)
    # Printed for 128x128 LR; a paper's own network counted for 1280x720 says the same.
    standard = mult_adds_720p(srresnet(4), 4)
    assert ours["SRResNet"].mult_adds == pytest.approx(standard, rel=1e-3)
    (dncnn, scn) = published_networks(1, GaussianNoise(25.0))
    assert (dncnn.psnr["BSD68"], scn.psnr["Set12"]) == (29.23, 30.64)
    assert published_networks(1, JPEG(10))[1].psnr["classic5"] == 29.53
    assert published_networks(1, GaussianNoise([5, 50])) == []


def test_the_places_that_differ_most(tmp_path):
    for name in ("plain", "spotted"):
        Image.fromarray(np.full((20, 20, 3), 100, np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    rng = np.random.default_rng(0)

    def upscaler(places):
        """Adds dark squares, and noise that all have alike."""

        def run(lr):
            sr = np.repeat(np.repeat(lr, 2, 0), 2, 1).copy()
            for y, x, value in places:
                sr[y : y + 4, x : x + 4] = value
            return sr + 0.01 * rng.random(1)[0]

        return run

    alike, other = upscaler([(0, 0, 0.9)]), upscaler([(0, 0, 0.9), (12, 8, 0.0)])
    upscalers = {"first": upscaler([(0, 0, 0.1)]), "a": alike, "b": other}
    test = {"t": BenchmarkFolder(tmp_path, 2)}
    found = comparison.most_different_places(upscalers, test, ["a", "b"], 1, 4)
    (place,) = found
    assert (place.test, place.image, place.index) == ("t", "plain", 0)
    assert place.results["b"].max() <= 3
    assert place.results["a"].min() > 90
    assert place.hr.shape == place.results["first"].shape == (4, 4, 3)
    everywhere = comparison.most_different_places(upscalers, test, ["first", "a"], 9, 4)
    assert [p.image for p in everywhere] == ["plain", "spotted"]
    (wrong, _) = comparison.most_different_places(upscalers, test, ["HR", "a"], 9, 4)
    assert wrong.results["a"].min() > 220
    assert set(wrong.results) == {"first", "a", "b"}
    assert all(p.results["first"].max() < 40 for p in everywhere)
