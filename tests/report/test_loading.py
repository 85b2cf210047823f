import json

import pytest

from tfsr.errors import InputError
from tfsr.report.loading import load_models

SOUND = {"scale": 2, "networks": [{"name": "a", "seeds": [0]}]}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        json.dumps({}),
        json.dumps({**SOUND, "scale": 0}),
        json.dumps({**SOUND, "scale": "2"}),
        json.dumps({**SOUND, "networks": 5}),
        json.dumps({**SOUND, "networks": ["a"]}),
        json.dumps({**SOUND, "networks": [{"name": [], "seeds": [0]}]}),
        json.dumps({**SOUND, "networks": [{"name": "a", "seeds": "01"}]}),
    ],
)
def test_a_damaged_study_is_named(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(InputError, match=r"study\.json: damaged") as caught:
        load_models([str(tmp_path)])
    assert "\n" not in str(caught.value)
