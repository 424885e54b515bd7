"""The files for SLURM and Kubernetes start what ``bench`` takes, and shards have every group once."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from byte_tokenizer import write_tokenizer
from fakes import fake_model

from bench.cli.scale_run import ScaleOptions, run_on
from bench.errors import ExitCode
from bench.scale import here
from bench.scale.pieces import pieces_of

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "configs" / "cluster"
# Stands for srun and for bench: it notes what it was given. srun then starts what follows its own options.
NOTES = """#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >> "$NOTES"
[ "$(basename "$0")" != srun ] || exec "${@:3}"
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of an array, and a directory of stand-ins on its path."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("srun", "bench"):
        (programs / name).write_text(NOTES)
        (programs / name).chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}", "NOTES": str(tmp_path / "notes"),
        "BENCH_OUT": str(tmp_path / "results"), "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_ON_NODE": "16",
    }  # fmt: skip


def submitted(environment: dict[str, str]) -> list[str]:
    """Run the script of the array as a job does; return what it started."""
    command = ["bash", str(FILES / "slurm-array.sh"), "configs/a b.yaml"]
    subprocess.run(command, env=environment, check=True, timeout=60)
    return Path(environment["NOTES"]).read_text().splitlines()


def test_a_job_of_an_array_measures_its_shard_with_all_processors(cluster: dict[str, str]) -> None:
    step, run = submitted(cluster)
    assert step.startswith("srun --ntasks=1 --cpus-per-task=16 bench run configs/a b.yaml --on here")
    assert run == f"bench run configs/a b.yaml --on here --shard 3/8 --out {cluster['BENCH_OUT']}"


@pytest.mark.fault(45)
def test_a_job_that_is_started_again_goes_on_with_its_own_campaign(cluster: dict[str, str]) -> None:
    results = Path(cluster["BENCH_OUT"])
    earlier, own, foreign = (
        results / f"20261129-0{hour}0000-campaign-a-b-shard-{shard}-8-3f2a"
        for hour, shard in ((1, 3), (2, 3), (3, 13))
    )
    for campaign in (earlier, own, foreign):
        campaign.mkdir(parents=True)
    assert "--resume" not in submitted(cluster)[-1]
    again = submitted({**cluster, "SLURM_RESTART_COUNT": "1"})[-1]
    assert again.endswith(f"--resume {own}")
    nothing = submitted({**cluster, "SLURM_RESTART_COUNT": "1", "SLURM_ARRAY_TASK_ID": "4"})[-1]
    assert "--shard 4/8" in nothing
    assert "--resume" not in nothing


def test_the_array_has_as_many_jobs_as_there_are_shards() -> None:
    text = (FILES / "slurm-array.sh").read_text()
    assert "#SBATCH --array=1-8\n" in text
    assert "\nSHARDS=8\n" in text


def test_the_job_of_kuberay_starts_bench_on_workers_only() -> None:
    spec = yaml.safe_load((FILES / "kuberay.yaml").read_text())["spec"]
    cluster = spec["rayClusterSpec"]
    directory, config, *rest = shlex.split(spec["entrypoint"].replace("cd ", "").replace("&& bench run", ""))
    assert (ROOT / config).is_file()
    assert rest == ["--on", "ray", "--out", "results"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    pod = workers["template"]["spec"]
    (rule,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["labelSelector"]["matchLabels"] == workers["template"]["metadata"]["labels"]
    (worker,), (head,) = pod["containers"], cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert worker["resources"]["requests"] == worker["resources"]["limits"]
    assert worker["image"] == head["image"]
    assert worker["image"].endswith(f":{cluster['rayVersion']}")
    assert {"name": "RAY_worker_niceness", "value": "0"} in worker["env"]
    for container in (worker, head):
        assert directory in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_shards_have_every_group_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an array of jobs does; what is measured is not asked here."""
    write_tokenizer(fake_model(tmp_path / "toy"))
    text = {"name": "a", "model": {"path": str(tmp_path / "toy")}, "variants": [{"name": "same"}],
            "sweep": {"batch_size": [1, 2, 4, 8]}}  # fmt: skip
    config = tmp_path / "a.yaml"
    config.write_text(yaml.safe_dump(text))
    measured: list[str] = []

    class Noting(here.Here):
        def begin(self, machine: here.Machine, piece: here.Piece) -> str | None:
            measured.append(piece.name)
            return "it only notes"

        def close(self) -> None: ...

    monkeypatch.setattr(here, "Here", Noting)
    out = tmp_path / "results"
    for number in (1, 2, 3):
        code = run_on([config], ScaleOptions("here", out, shard=(number, 3)), quiet=True)
        assert code == ExitCode.FAILED
        assert list(out.glob(f"*-campaign-a-shard-{number}-3-*")) != []
    names = [piece.name for piece in pieces_of([config])]
    assert len(names) == 4
    # a machine that refuses is not asked again, so of the first shard's two groups one is noted
    assert measured == names[:3]
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    code = run_on([config], ScaleOptions("here", out, shard=(9, 9)), quiet=True)
    assert code == ExitCode.OK
    assert "shard 9/9 has none to measure" in capsys.readouterr().out
