"""The Python that README and the guide show runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = [
    (page, code)
    for page in ("README.md", "docs/start.md")
    for code in ["\n".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL))]
]


@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_python_blocks_run(page, code):
    assert code
    exec(compile(code, page, "exec"), {})


def test_every_command_shown_is_understood(tmp_path, monkeypatch):
    from hybrid_attention import cli

    monkeypatch.chdir(tmp_path)
    lines = re.sub(r"\\\n", " ", _all_pages())
    shown = re.findall(r"^(?:\$ )?(?:\.venv/bin/)?hybrid-attention (qpu [a-z]+|[a-z]+)(.*)$", lines, re.MULTILINE)
    commands = {command for command, _ in shown}
    assert {"train", "evaluate", "generate", "ablate", "study", "export", "qpu estimate"} <= commands
    known = {command: _flags(cli, command) for command in commands}
    for command, rest in shown:
        for flag in re.findall(r"(?<=\s)--[a-z-]+", rest.split("  #")[0]):
            assert flag in known[command], (command, flag)


def _all_pages():
    return "\n".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def _flags(cli, command):
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        cli.main([*command.split(), "--help"])
    return set(re.findall(r"--[a-z-]+", out.getvalue()))
