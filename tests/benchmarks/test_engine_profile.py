"""What the profile cannot look into is refused before an engine starts."""

from __future__ import annotations

import pytest

from benchmarks.engine_profile import main


def test_the_v2_model_runner_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
    with pytest.raises(SystemExit):
        main(["outputs/demo"])
    assert "vLLM's V1 model runner: unset VLLM_USE_V2_MODEL_RUNNER" in capsys.readouterr().err
