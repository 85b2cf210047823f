"""Which files are enlarged, and where to."""

import pytest

from tfsr.errors import InputError
from tfsr.shards import Shard
from tfsr.upscaling.planning import photos_left_out, plan


def test_plan_keeps_subfolders_and_skips_what_is_done(tmp_path):
    source, out = tmp_path / "in", tmp_path / "in" / "out"
    (source / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.jpg", "note.txt"):
        (source / name).touch()
    jobs, done = plan(source, out, suffix="_x2", format="webp")
    assert [j.target for j in jobs] == [out / "a_x2.webp", out / "sub" / "b_x2.webp"]
    assert done == 0
    out.mkdir()
    (out / "a_x2.webp").touch()
    jobs, done = plan(source, out, suffix="_x2", format="webp")
    assert [j.source.name for j in jobs] == ["b.jpg"]
    assert done == 1
    jobs, done = plan(source, out, "_x2", "webp", overwrite=True)
    assert (len(jobs), done) == (2, 0)


def test_plan_leaves_out_what_is_hidden_and_says_what_is_of_other_kinds(tmp_path):
    source, out = tmp_path / "in", tmp_path / "in" / "out"
    names = ("a.jfif", "b.jpe", "._a.png", ".cache/c.png", "d.jp2", "out/e.jp2")
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    jobs, done = plan(source, out)
    assert [job.target for job in jobs] == [out / "a.jfif", out / "b.jpe"]
    assert done == 0
    line = f"{source}: left out, of kinds not read here: 1 .jp2"
    assert photos_left_out(source, out) == f"{line}."
    for link in (source / "f" / "more", source / ".cache" / "no", out / "no"):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(tmp_path)
    assert photos_left_out(source, out) == f"{line}; links to folders: f/more."


def test_plan_keeps_a_gif_beside_a_png_apart(tmp_path):
    for name in ("logo.gif", "logo.png", "other.gif"):
        (tmp_path / name).touch()
    jobs, _ = plan(tmp_path, tmp_path / "out", suffix="_x2")
    names = [job.target.name for job in jobs]
    assert names == ["logo.gif_x2.png", "logo_x2.png", "other_x2.png"]


def test_plan_replaces_no_link_to_nothing(tmp_path):
    (source := tmp_path / "in").mkdir()
    (out := tmp_path / "out").mkdir()
    (source / "a.png").touch()
    (out / "a.png").symlink_to(tmp_path / "missing")
    for arguments in ((source, out), (source / "a.png", out / "a.png")):
        with pytest.raises(InputError, match=r"out/a\.png: .*`overwrite` replaces it"):
            plan(*arguments)
        ((job,), _) = plan(*arguments, overwrite=True)
        assert job.target == out / "a.png"


def test_plan_refuses_two_files_for_one(tmp_path):
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a\.webp: would be written for both"):
        plan(tmp_path, tmp_path / "out", format="webp")


def test_what_is_not_written_gives_way(tmp_path):
    for name in ("a.heic", "a.jpg", "b.avif", "c.gif", "c.png"):
        (tmp_path / name).touch()

    def targets(format=None):
        jobs, _ = plan(tmp_path, tmp_path / "out", format=format)
        return [job.target.name for job in jobs]

    assert targets() == ["a.png", "a.jpg", "b.png", "c.gif.png", "c.png"]
    webp = ["a.heic.webp", "a.webp", "b.webp", "c.gif.webp", "c.webp"]
    assert targets("webp") == webp


def test_output_inside_the_input_is_not_upscaled_again(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    for name in ("a.png", ".hidden.png", "out/b.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    jobs, _ = plan(f"../{tmp_path.name}", "out")
    assert [job.source.name for job in jobs] == ["a.png"]
    with pytest.raises(InputError, match="must be another folder"):
        plan(tmp_path, ".", suffix="_x2")


def test_shards_share_the_files_whatever_is_done(tmp_path):
    source, out = tmp_path / "photos", tmp_path / "large"
    source.mkdir()
    out.mkdir()
    for name in "abcde":
        (source / f"{name}.png").touch()
    (out / "a.png").touch()
    parts = [plan(source, out, shard=Shard(i, 2)) for i in (1, 2)]
    stems = [[job.source.stem for job in jobs] for jobs, _ in parts]
    assert stems == [["c", "e"], ["b", "d"]]
    assert [done for _, done in parts] == [1, 0]
    with pytest.raises(InputError, match="`shard` are for folders"):
        plan(source / "a.png", tmp_path / "x.png", shard=Shard(1, 2))
