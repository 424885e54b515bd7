"""The commands from outside: help, exit codes, what goes where, and what is not imported on the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import Bench, Ended
from journals import MACHINE, SPEC, write_journal, write_run
from typer.main import get_command

from bench import __version__ as version
from bench.cli import doctor as health
from bench.cli.crash import report_crash
from bench.cli.doctor import cpu_quota, findings
from bench.cli.main import app
from bench.cli.output import forget_odd_sizes
from bench.cli.typer_base import _processed
from bench.errors import ExitCode
from bench.gate import sequential
from bench.machine import devices
from bench.machine.proc import stat_of
from bench.models import disk_cache
from bench.results.summary import RUN_JSON
from bench.store.files import digest

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "configs" / "quickstart.yaml")
COMMANDS = [
    str(command.name or command.callback.__name__) for command in app.registered_commands if command.callback
]
HEAVY = ("torch", "transformers", "numpy", "scipy", "bitsandbytes", "huggingface_hub", "matplotlib", "pandas")


def script(body: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command run by ``bench.__main__.main`` in a process in which ``body`` was done first."""
    code = (
        f"import sys\nsys.argv = ['bench', *sys.argv[1:]]\n{body}\nfrom bench.__main__ import main\nmain()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


# ---- help and what it costs ----------------------------------------------------------------------


def test_help_names_every_command(bench: Bench) -> None:
    found = bench("--help")
    assert found.returncode == ExitCode.OK
    assert {"run", "check", "compare", "price", "report", "list", "schema", "doctor", "verify"} <= set(
        COMMANDS
    )
    for command in COMMANDS:
        assert f"  {command} " in found.stdout


@pytest.mark.parametrize(
    ("words", "built"), [(["schema"], 1), (["list", "--help"], 1), (["--help"], len(COMMANDS))]
)
def test_only_the_command_that_is_called_is_built(words: list[str], built: int) -> None:
    counting = (
        "from bench.cli.typer_base import Command\n"
        "class Counted(Command):\n"
        "    def __init__(self, *given, **named):\n"
        "        print('built', file=sys.stderr)\n"
        "        super().__init__(*given, **named)\n"
        "import bench.cli.typer_base as base\n"
        "base.Command = Counted"
    )
    assert script(counting, *words).stderr.splitlines() == ["built"] * built


VALUES = (
    None, "", "text", "é", "\udcff", "3", "-3", "3.5", "03.50", "3.", "1e3", "nan", "1_0", " 3", "9" * 30,
    True, ("a", "b"), ("é",), ("\udcff",), (),
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_takes_each_value_as_click_does(name: str) -> None:
    """Those that need no pydantic too."""
    command: Any = vars(get_command(app))["commands"][name.replace("_", "-").rstrip("-")]
    context = command.context_class(command)

    def said(process: Callable[..., object], value: object) -> str:
        try:
            return repr(process(context, value))
        except Exception as bad:  # noqa: BLE001 - of any kind, but the same for both
            return f"{type(bad)}: {getattr(bad, 'message', bad)}"

    for option in command.params:
        for value in VALUES:
            ours = partial(_processed, option, option.process_value)
            assert said(ours, value) == said(option.process_value, value), (option.name, value)


def test_a_filter_of_runs_needs_no_pydantic(tmp_path: Path) -> None:
    told = "import atexit; atexit.register(lambda: print('pydantic' in sys.modules))"
    for options, needed in (("--model=m --max-cost=0.5", False), ("--max-cost=5e-1", True)):
        done = script(told, "list", "runs", tmp_path, *options.split())
        assert done.stdout.splitlines()[-1] == str(needed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(bench: Bench, command: str) -> None:
    found = bench(command, "--help")
    assert (found.returncode, found.stderr) == (ExitCode.OK, "")
    usage = found.stdout.splitlines()[0]
    assert usage.startswith("Usage: ")
    assert f" {command} [OPTIONS]" in usage


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "check", "no-such-file.yaml"]])
def test_the_version_is_that_of_the_package(bench: Bench, arguments: list[str]) -> None:
    """Whatever stands behind it is not looked at."""
    said = bench(*arguments)
    assert said == Ended(ExitCode.OK, f"inference-cost-bench {version}\n", "")


def test_no_command_is_a_usage_error_with_the_help(bench: Bench) -> None:
    found = bench()
    assert found.returncode == ExitCode.USAGE
    assert "Commands:" in found.stdout + found.stderr


WATCH = f"""
import atexit
atexit.register(lambda: print("HEAVY", sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["check", QUICKSTART],
        ["check", str(ROOT / "configs" / "ci.yaml")],
        ["list"],
        ["schema"],
        ["doctor"],
        ["models"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    found = script(WATCH, *arguments)
    assert found.returncode == ExitCode.OK
    assert found.stderr.splitlines()[-1] == "HEAVY []"


def test_the_watch_would_see_it() -> None:
    assert script(f"{WATCH}\nimport numpy", "--help").stderr.splitlines()[-1] == "HEAVY ['numpy']"


@pytest.mark.parametrize("command", [["-m", "bench"], [str(Path(sys.executable).parent / "bench")]])
def test_both_ways_to_start_it(command: list[str]) -> None:
    found = subprocess.run(
        [sys.executable, *command, "check", QUICKSTART],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "6 rows" in found.stdout


# ---- results go to standard output, complaints to standard error ---------------------------------


def test_check_prints_each_plan(bench: Bench) -> None:
    found = bench("check", QUICKSTART, ROOT / "configs" / "ci.yaml", "--set", "workload.requests=7")
    assert (found.returncode, found.stderr) == (ExitCode.OK, "")
    assert "quickstart (" in found.stdout
    assert "ci (" in found.stdout
    assert found.stdout.count("chat, 7 requests") == 2


def test_check_keeps_only_what_is_asked_for(bench: Bench) -> None:
    found = bench("check", QUICKSTART, "--only", "bf16")
    assert "2 rows" in found.stdout
    assert "int8" not in found.stdout


def test_schema_is_json(bench: Bench) -> None:
    assert json.loads(bench("schema").stdout)["type"] == "object"


def test_list_of_one_kind(bench: Bench) -> None:
    found = bench("list", "workloads")
    assert found.stdout.splitlines()[0] == "workloads"
    assert bench("list", "workload").stderr.startswith(
        "bench: nothing to list called 'workload' (did you mean"
    )


def test_compare_within_a_run_and_between_two(bench: Bench, run: Path) -> None:
    within = bench("compare", run, "--json")
    assert json.loads(within.stdout)["run_id"] == "run-1"
    between = bench("compare", run, run, "--json")
    assert {row["verdict"] for row in json.loads(between.stdout)} == {"cannot tell"}
    assert "cannot tell" in bench("compare", run, run).stdout


def test_a_history_looks_deeper_and_counts_a_copy_once(bench: Bench, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "kept" / "here" / "run")
    (series, *_) = json.loads(bench("compare", tmp_path, "--history", "--json").stdout)
    assert series["runs"] == ["run-1"]
    deep = bench("compare", tmp_path / "kept", "--history").stdout
    assert "1 run at most: too few to look for changes" in deep
    assert len(deep.splitlines()) == 1


def test_a_new_price_for_an_old_run(bench: Bench, run: Path) -> None:
    before = (run / RUN_JSON).read_bytes()
    found = bench("price", run, "--usd-per-hour", "2", "--json")
    assert json.loads(found.stdout)["price"]["usd_per_hour"] == 2.0
    assert found.stderr == ""
    assert (run / RUN_JSON).read_bytes() == before


def test_a_new_price_by_the_vcpu(bench: Bench, run: Path) -> None:
    """The same dollars as the price file's, for as many vCPUs: the same figures."""
    found = json.loads(bench("price", run, "--usd-per-hour", "0.1008", "--vcpus", "2", "--json").stdout)
    before = json.loads((run / RUN_JSON).read_text())
    assert [row["metrics"] for row in found["variants"]] == [row["metrics"] for row in before["variants"]]


def test_seconds_of_a_cpu_at_the_price_of_a_gpu(bench: Bench, run: Path) -> None:
    found = bench("price", run, "--hardware", "h100-80gb", "--json")
    assert found.stderr.startswith("bench: priced as a GPU (")
    data = json.loads(found.stdout)
    assert (data["status"], data["reasons"]) == ("ok", [found.stderr.removeprefix("bench: ").strip()])


def test_verify_prints_what_it_checked(bench: Bench, run: Path) -> None:
    found = bench("verify", run)
    assert found.returncode == ExitCode.OK
    assert len(found.stdout.splitlines()) == 3


def write_weights(staging: Path) -> None:
    (staging / "weights").write_bytes(b"0123456789")


def test_verifying_the_cache_reads_every_file_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed under its old time is found, as no look at sizes and times would."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    assert bench("models", "--verify") == Ended(ExitCode.OK, "", "")
    entry = disk_cache.fill("mine", write_weights)
    found = bench("models", "--verify")
    assert (found.returncode, found.stderr) == (ExitCode.OK, "")
    assert found.stdout == f"{entry.name}: every file read again, each has its recorded SHA-256\n"
    before = (entry / "weights").stat()
    (entry / "weights").write_bytes(b"012345678X")
    os.utime(entry / "weights", ns=(before.st_atime_ns, before.st_mtime_ns))
    said = complaint(bench("models", "--verify"), ExitCode.INTEGRITY)
    assert said == f"bench: {entry}: weights changed since it was fetched\n"


# ---- exit codes ----------------------------------------------------------------------------------


def complaint(found: Ended | subprocess.CompletedProcess[str], code: ExitCode) -> str:
    """One line on standard error, no traceback, nothing on standard output."""
    assert (found.returncode, found.stdout) == (code, "")
    assert "Traceback" not in found.stderr
    return found.stderr


def test_a_wrong_config_is_exit_2_with_its_place(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("model: smollm2-135m\nworkload:\n  requets: 3\n")
    said = complaint(bench("check", path), ExitCode.USAGE)
    assert said == f"bench: {path}:3: workload.requets: unknown key (did you mean 'requests'?)\n"


@pytest.mark.parametrize(
    "text",
    [
        "model: nope\n",
        "model: smollm2-135m\nworkload: {requests: 0}\n",
        "model: smollm2-135m\nruntime: {device: 'cuda:31'}\n",
        "model: smollm2-135m\ngate: {ttft: {max: 1}}\n",
        "- a\n",
    ],
)
def test_a_wrong_config_leaves_nothing_behind(bench: Bench, tmp_path: Path, text: str) -> None:
    """The good config before it is not begun either."""
    good, bad, out = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "out"
    good.write_text("model: {random: tiny-llama}\ndrift: {tokens: 0}\n")
    bad.write_text(text)
    complaint(bench("run", good, bad, "--out", out), ExitCode.USAGE)
    assert not out.exists()


@pytest.mark.bad_input(40)
def test_an_output_place_that_cannot_be_written(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = tmp_path / "good.yaml", tmp_path / "file"
    config.write_text("name: ../../x\nmodel: {random: tiny-llama}\ndrift: {tokens: 0}\n")
    out.write_text("not a directory")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    said = complaint(bench("run", config, "--out", out), ExitCode.USAGE)
    assert "cannot write results to" in said
    assert out.read_text() == "not a directory"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["check"],
        ["check", "no-such-file.yaml"],
        ["check", QUICKSTART, "--only", "nope"],
        ["check", QUICKSTART, "--set", "nope"],
        ["list", "nope"],
        ["list", "workloads", "chat"],
        ["env", "make"],
        ["compare"],
        ["verify", "no-such-run"],
        ["compare", "no-such-run"],
        ["price", "no-such-run"],
        ["report", "no-such-run"],
        ["models", "--fetch", "nope"],
    ],
    ids=" ".join,
)
@pytest.mark.bad_input(46)
def test_what_does_not_exist_is_exit_2(bench: Bench, arguments: list[str]) -> None:
    assert complaint(bench(*arguments), ExitCode.USAGE)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("foo", "no engine called 'foo' has an environment of its own (there are llama-cpp, onnxruntime, "),
        (
            "llama_cpp",
            "no engine called 'llama_cpp' has an environment of its own (did you mean 'llama-cpp'?)",
        ),
        ("numpy", "the numpy engine runs in this environment; it needs none of its own"),
    ],
)
def test_an_environment_that_there_is_not(bench: Bench, engine: str, said: str) -> None:
    """Nothing is said to be made."""
    assert complaint(bench("env", "make", engine), ExitCode.USAGE).startswith(f"bench: {said}")


@pytest.mark.parametrize("command", ["run", "gate", "calibrate", "export"])
def test_progress_is_switched_off_alike(bench: Bench, command: str) -> None:
    assert "-q, --quiet" in bench(command, "--help").stdout


@pytest.mark.bad_input(16)
def test_a_cap_with_which_a_gate_cannot_fail(bench: Bench) -> None:
    assert sequential.least_cap(1) == 9
    found = bench("gate", "configs/ci.yaml", "--cap", "8")
    assert (found.returncode, "greater than or equal to 9" in found.stderr) == (ExitCode.USAGE, True)


@pytest.mark.fault(32)
def test_two_runs_that_cannot_be_compared_are_exit_4(bench: Bench, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_journal(other, machine={**MACHINE, "cpu_model": "another"})
    said = complaint(bench("compare", run, other), ExitCode.INCOMPARABLE)
    assert "machine.cpu_model: fake and another" in said


@pytest.mark.fault(32)
@pytest.mark.bad_input(43)
def test_a_run_that_was_tampered_with_is_exit_6(bench: Bench, run: Path) -> None:
    (run / RUN_JSON).write_text(
        (run / RUN_JSON).read_text().replace('"usd_per_hour": 0.1008', '"usd_per_hour": 0.0001')
    )
    assert "price.usd_per_hour: 0.0001, the journal gives 0.1008" in complaint(
        bench("verify", run), ExitCode.INTEGRITY
    )


@pytest.mark.fault(10)
def test_an_interrupt_is_exit_130() -> None:
    body = (
        "import bench.cli.list_actions\ndef stop(): raise KeyboardInterrupt\n"
        "bench.cli.list_actions.doctor = stop"
    )
    assert script(body, "doctor").returncode == ExitCode.INTERRUPTED


def test_a_termination_is_exit_143() -> None:
    """What a run that was told to stop raises; that SIGTERM makes it do so is tested with a whole run."""
    body = (
        "import bench.cli.list_actions\nfrom bench.errors import TerminatedRun\n"
        "def stop(): raise TerminatedRun('terminated')\nbench.cli.list_actions.doctor = stop"
    )
    found = script(body, "doctor")
    assert complaint(found, ExitCode.TERMINATED) == "bench: terminated\n"
    assert found.returncode == 143


BUILDS = {
    "run_whole": "run_whole(['sh', '-c', {slow!r}], dict(os.environ), 300)",
    "run_child": 'run_child([\'-c\', \'import os; os.execvp("sh", ["sh", "-c", os.environ["SLOW"]])\'], '
    "{{**os.environ, 'SLOW': {slow!r}}}, lambda: None)",
}
IMPORTS = (
    "import os, signal, subprocess, threading, time, bench.cli.list_actions\n"
    "from bench.machine.process_tree import run_whole\nfrom bench.models.child import run_child\n"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("how", ["run_whole", "run_child"])
def test_what_a_command_has_started_ends_with_it(
    number: signal.Signals, early: bool, how: str, tmp_path: Path
) -> None:
    """The build of a commit went on for as long as it liked when a CI job was cancelled. If the signal came
    ``early``, before the command was known to have started, it still did."""
    pid = tmp_path / "pid"
    slow = f"sleep 300 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"
    slowly = (
        "class Slowly(subprocess.Popen):\n    def __init__(self, *given, **named):\n"
        "        super().__init__(*given, **named)\n"
        f"        while not os.path.exists({str(pid)!r}): time.sleep(0.01)\n        time.sleep(0.2)\n"
        "subprocess.Popen = Slowly\n"
    )
    body = (
        f"{IMPORTS}signal.signal(signal.SIGINT, signal.default_int_handler)\n{slowly if early else ''}"
        f"def build(): {BUILDS[how].format(slow=slow)}\n"
        "bench.cli.list_actions.doctor = build\n"
        f"def tell():\n    while not os.path.exists({str(pid)!r}): time.sleep(0.01)\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "threading.Thread(target=tell).start()"
    )
    code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
    said = "" if number == signal.SIGINT else "bench: terminated\n"
    found = script(body, "doctor")
    assert (found.returncode, found.stderr) == (code, said)
    assert stat_of(int(pid.read_text()))[:1] in ([], ["Z"]), "no init may have waited for it"


@pytest.mark.parametrize("left", ["0", "1", "None", "'with\\n::error::words'"])
def test_what_a_command_calls_cannot_end_it(left: str) -> None:
    """A plug-in that calls `sys.exit(0)` in the middle of a gate would be its PASS."""
    body = (
        "import bench.cli.list_actions\n"
        f"def leave(): raise SystemExit({left})\nbench.cli.list_actions.doctor = leave"
    )
    said = complaint(script(body, "doctor"), ExitCode.FAILED)
    assert said.startswith("bench: something that this command calls has ended it: SystemExit(")
    assert len(said.splitlines()) == 1


def test_ctrl_c_while_it_starts_is_exit_130(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    found = subprocess.run(
        [sys.executable, "-m", "bench", "doctor"], capture_output=True, text=True, timeout=60, check=False,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (ExitCode.INTERRUPTED, "")


NO_PLACE = "FileNotFoundError(errno.ENOENT, \"No usable temporary directory found in ['/tmp']\")"


@pytest.mark.parametrize(
    ("raised", "said", "code"),
    [
        ("OSError(errno.ENOTDIR, '', '/a/b')", "/a/b: a part of this path is no directory", ExitCode.USAGE),
        ("OSError(errno.EROFS, '', '/a')", "/a: its file system is read-only", ExitCode.USAGE),
        ("OSError(errno.ENOSPC, '')", "no space is left on the disk", ExitCode.FAILED),
        ("OSError(errno.EMFILE, '', '/a')", "/a: this process may open no more files", ExitCode.FAILED),
        ("BlockingIOError(errno.EAGAIN, '')", "no more processes or threads may be started", ExitCode.FAILED),
        ('RuntimeError("can\'t start new thread")', "no more processes or threads", ExitCode.FAILED),
        ("MemoryError()", "there is no memory left", ExitCode.FAILED),
        (NO_PLACE, "no directory for temporary files can be written: free some space", ExitCode.FAILED),
    ],
)
def test_what_the_machine_refuses_is_no_bug(raised: str, said: str, code: ExitCode) -> None:
    body = (
        "import errno, bench.cli.list_actions\n"
        f"def fail(): raise {raised}\nbench.cli.list_actions.doctor = fail"
    )
    found = complaint(script(body, "doctor"), code)
    assert found.startswith(f"bench: {said}")
    assert len(found.splitlines()) == 1


def test_a_disk_that_is_full_everywhere_is_no_bug(tmp_path: Path) -> None:
    """The temporary directory cannot be written either, of which Python says that it is not there."""
    config = tmp_path / "x.yaml"
    config.write_text("model: {random: tiny-llama}\ndrift: {tokens: 0}\n")
    found = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-m", "bench", "run", str(config)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert found.returncode == ExitCode.FAILED
    assert "bug" not in found.stderr


@pytest.mark.parametrize(
    "raised", ["BrokenPipeError(32, 'Broken pipe')", "__import__('click').exceptions.Abort()"]
)
def test_no_library_says_fail(raised: str) -> None:
    """Click leaves with 1 for these, which is the verdict of a gate that fails."""
    body = f"import bench.cli.list_actions\ndef fail(): raise {raised}\nbench.cli.list_actions.doctor = fail"
    assert script(body, "doctor").returncode == ExitCode.FAILED


def test_a_panic_is_no_verdict(tmp_path: Path) -> None:
    """What libraries written in Rust raise is no Exception, and Python itself leaves with 1 for it."""
    body = (
        "import bench.cli.list_actions\nclass PanicException(BaseException): ...\n"
        "def fail(): raise PanicException('index out of bounds')\nbench.cli.list_actions.doctor = fail"
    )
    said = complaint(script(body, "doctor", TMPDIR=str(tmp_path)), ExitCode.FAILED)
    assert said.startswith("bench: unexpected PanicException: index out of bounds\nThis is a bug.")


def test_the_unexpected_is_exit_5_and_leaves_its_traceback_in_a_private_file(tmp_path: Path) -> None:
    body = (
        "import bench.cli.list_actions\ndef fail(): raise RuntimeError('secret plans')\n"
        "bench.cli.list_actions.doctor = fail"
    )
    said = complaint(script(body, "doctor", TMPDIR=str(tmp_path)), ExitCode.FAILED)
    assert said.startswith("bench: unexpected RuntimeError: secret plans\nThis is a bug.")
    (file,) = tmp_path.glob("bench-crash-*.log")
    assert str(file) in said
    assert "Traceback (most recent call last)" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_traceback_that_cannot_be_kept_changes_no_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on top of an error would leave with 1, the verdict of a gate that fails."""

    def full(*_words: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    said = report_crash(RuntimeError("secret plans"))
    assert said.startswith(
        "bench: unexpected RuntimeError: secret plans\nThis is a bug. Its traceback could not"
    )
    assert "No space left on device" in said


def test_what_is_unexpected_is_said_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words may hold a name out of a stranger's file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = report_crash(RuntimeError("\x1b[31mred\n::error::x"))
    first, second = said.split("\n")
    assert first == "bench: unexpected RuntimeError: �[31mred ::error::x"
    assert second.startswith("This is a bug.")


@pytest.mark.parametrize("bad", ["RuntimeError('half of it')", "SystemExit(1)"])
def test_an_installation_that_is_not_whole_is_no_verdict(tmp_path: Path, bad: str) -> None:
    (tmp_path / "typer.py").write_text(f"raise {bad}\n")
    found = subprocess.run(
        [sys.executable, "-m", "bench", "gate", "configs/ci.yaml"],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    said = complaint(found, ExitCode.FAILED)
    assert said.startswith(f"bench cannot be started ({bad.partition('(')[0]}: ")
    assert said.endswith("): install it again\n")


def test_a_current_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    body = f"import os\nos.chdir({str(gone)!r})\nos.rmdir({str(gone)!r})"
    found = script(body, "check", ROOT / "configs" / "ci.yaml", PYTHONPATH=str(ROOT))
    said = complaint(found, ExitCode.USAGE)
    assert said.startswith("bench: the current directory cannot be used (No such file or directory)")


def test_a_current_directory_of_another_user_is_said() -> None:
    """A shell of root that starts the command as somebody else (`su`) leaves it there."""
    body = (
        "import errno\nfrom pathlib import Path\nstat = Path.stat\n"
        "def refused(path, **how):\n"
        "    if path == Path(): raise PermissionError(errno.EACCES, 'Permission denied')\n"
        "    return stat(path, **how)\n"
        "Path.stat = refused"
    )
    said = complaint(script(body, "check", QUICKSTART), ExitCode.USAGE)
    assert said == "bench: the current directory cannot be used (Permission denied): go to another one\n"


@pytest.mark.parametrize("size", ["0", "-5", "²", "9" * 5000, "x", ""])
def test_an_odd_size_of_a_terminal_is_forgotten(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COLUMNS", size), ("LINES", "80")):
        monkeypatch.setenv(name, value)
    forget_odd_sizes()
    assert (os.environ.get("COLUMNS"), os.environ["LINES"]) == (None, "80")


def test_a_command_forgets_it_before_a_library_reads_it(run: Path) -> None:
    found = script("", "compare", run, COLUMNS="²", LINES="-5")
    assert (found.returncode, found.stderr) == (ExitCode.OK, "")


def without_a_reader(*arguments: object, end: str = "stdout") -> int:
    """The exit code of a command that writes into a pipe which nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, end: gone}
        found = subprocess.run(
            [sys.executable, "-m", "bench", *map(str, arguments)],
            timeout=60, check=False, cwd=ROOT, **streams,  # type: ignore[call-overload]
        )  # fmt: skip
    assert not found.stderr
    return int(found.returncode)


def test_a_reader_that_has_gone_is_no_failure() -> None:
    assert without_a_reader("list") == ExitCode.OK
    assert without_a_reader("schema") == ExitCode.OK
    assert without_a_reader("report", "results/reference/quickstart", "--format", "html") == ExitCode.OK


def test_a_reader_that_has_gone_hides_no_failure() -> None:
    assert without_a_reader("check", "no-such-file.yaml", end="stderr") == ExitCode.USAGE
    assert without_a_reader("list", "nope", end="stderr") == ExitCode.USAGE


# ---- doctor --------------------------------------------------------------------------------------


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing to find fault with."""
    monkeypatch.setattr(health, "LOOK_S", 0.0)
    monkeypatch.setattr(health, "BUSY_SHARE", 2.0)
    for probe in ("_clocks", "_quota", "_energy", "_cuda", "_packages", "_space"):
        monkeypatch.setattr(health, probe, lambda: iter(()))


def test_doctor_prints_facts_and_then_findings(bench: Bench) -> None:
    found = bench("doctor")
    assert (found.returncode, found.stderr) == (ExitCode.OK, "")
    facts, _, advice = found.stdout.partition("\n\n")
    assert "cpu_model" in facts
    assert advice.strip()


@pytest.mark.usefixtures("healthy")
def test_nothing_to_change_is_said_too() -> None:
    assert findings() == ["nothing to change: quiet, complete and with room for the default model"]


@pytest.mark.usefixtures("healthy")
def test_noise_right_now(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.machine import noise

    monkeypatch.setattr(health, "BUSY_SHARE", 0.1)
    ticks = iter([noise.Ticks(1000, 0, 1000, 0, 1.0), noise.Ticks(2000, 50, 1500, 0, 1.0)])
    monkeypatch.setattr(noise, "read_ticks", lambda: next(ticks))
    busy, steal = findings()
    assert busy.startswith("50% of the processors' time is in use right now")
    assert steal.startswith("the hypervisor takes 5.0%")


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({}, None),
    ],
)
def test_a_quota_of_the_cgroup(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == quota


def test_a_quota_below_the_processors_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "cpu_count", lambda: 4)
    monkeypatch.setattr(health, "cpu_quota", lambda: 1.5)
    (found,) = health._quota()
    assert "1.5 of the 4 processors" in found
    assert "runtime.threads to 1" in found
    monkeypatch.setattr(health, "cpu_quota", lambda: 4.0)
    assert list(health._quota()) == []


def test_packages_too_old_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.9.1+cpu", "transformers": "5.3", "numpy": "2.0.0"}
    needs = [
        ("numpy", "2.0", ""), ("torch", "2.10", "transformers"), ("transformers", "5.3", "transformers"),
        ("gguf", "0.17", "transformers"), ("nvidia-ml-py", "12.560", "gpu"), ("ruff", "0.9", "test"),
    ]  # fmt: skip
    monkeypatch.setattr(health, "installed", versions.get)
    monkeypatch.setattr(health, "requirements", lambda: needs)
    monkeypatch.setattr(health, "cuda_device_count", lambda: 0)
    assert list(health._packages()) == [
        "torch 2.9.1+cpu is older than 2.10: pip install 'torch>=2.10'",
        "not installed: gguf: pip install 'inference-cost-bench[transformers]'",
    ]
    monkeypatch.setattr(health, "cuda_device_count", lambda: 1)
    assert (
        list(health._packages())[-1] == "not installed: nvidia-ml-py: pip install 'inference-cost-bench[gpu]'"
    )
    (cuda,) = health._cuda()
    assert "torch 2.9.1+cpu is built without CUDA" in cuda


def test_the_least_versions_are_those_of_the_package() -> None:
    needs = {name: (minimum, extra) for name, minimum, extra in health.requirements()}
    assert needs["torch"] == ("2.10", "transformers")
    assert needs["transformers"] == ("5.3", "transformers")
    assert needs["numpy"][1] == ""


def test_little_memory_and_little_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(health, "available_bytes", lambda: 10**9)
    monkeypatch.setattr(health, "LOW_DISK_BYTES", 10**18)
    memory, disk = health._space()
    assert memory.startswith("0.9 GiB of memory are free")
    assert disk.endswith("or set BENCH_CACHE to another disk")


def test_devices_are_counted_as_a_worker_sees_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As CUDA does: the first entry that is no device ends the list."""
    monkeypatch.setattr(devices, "DEV", tmp_path)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidia1").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.cuda_device_count() == 2
    for chosen, count in {"": 0, "1": 1, "0,1": 2, "-1": 0, "0,7,1": 1, "GPU-a,1": 2, "x": 0}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert devices.cuda_device_count() == count


def test_a_finished_run_is_judged_by_its_journal(bench: Bench, run: Path) -> None:
    """An edited ``run.json`` changes no verdict."""
    spec = {**SPEC, "gate": {"cost_per_request_usd": {"max_increase": "3%"}}}
    (run / "journal.jsonl").unlink()
    write_journal(run, spec=spec, spec_digest=digest(spec))
    honest = bench("gate", str(run), "--json")
    assert json.loads(honest.stdout)["rules"][0]["value"] == pytest.approx(0.789, abs=0.001)
    path = run / "run.json"
    content = json.loads(path.read_text())
    for one in content["comparisons"]:
        one |= {key: one[key] and one[key] / 100 for key in ("ratio", "ci_low", "ci_high")}
    path.write_text(json.dumps(content))
    assert bench("gate", str(run), "--json") == honest
