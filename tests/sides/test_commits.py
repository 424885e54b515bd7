"""Whole gates on commits of small real repositories: the right verdict, no PASS for what was not measured.

``scripts/gate-repositories`` runs every kind of repository with every kind of change; here are a few of them.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from proof import repositories

from bench.cli.gate_run import GateOptions, judged
from bench.errors import BenchError, UsageError
from bench.gate.findings import Effort
from bench.measure import passes
from bench.models.disk_cache import cache_root
from bench.report.gate_sides import compared
from bench.results.verify import verify_run
from bench.store import tree


def gate(config: Path, tmp_path: Path, **more: Any) -> dict[str, Any]:
    known = {"base": "v1.0", "cap": 30, "batches": None, "overrides": (), "only": (), **more}
    found = judged(config, GateOptions(tmp_path / "results", **known), quiet=True)
    verify_run(found.directory)
    block: dict[str, Any] = json.loads(json.dumps(found.gate.to_json()))
    return block


FEW = 2  # units show that a change costs; a verdict takes eight


def test_a_change_that_costs_fails(repository: Path, tmp_path: Path) -> None:
    repositories.change("requirements", "source", repository.parent)
    found = gate(repository, tmp_path)
    assert (found["verdict"], found["exit_code"]) == ("FAIL", 1)
    assert found["rules"][0]["value"] > 1.5


@pytest.mark.parametrize("change", ["dependency", "template", "config"])
def test_a_change_that_costs_is_seen_and_named(change: str, repository: Path, tmp_path: Path) -> None:
    repositories.change("requirements", change, repository.parent)
    found = gate(repository, tmp_path, cap=FEW)
    assert found["rules"][0]["value"] > 1.5
    differences = found["evidence"]["differences"]
    named = {
        "dependency": ("packages", {"what": "helperlib", "base": "1.0", "candidate": "2.0"}),
        "template": ("files", "template.txt"),
        "config": ("config", {"what": "workload.output_tokens", "base": "8", "candidate": "24"}),
    }
    key, what = named[change]
    assert what in differences[key]


def test_a_change_of_words_is_said_to_be_unmeasured(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a side has written is deleted only by the gate that has its lock."""
    free: list[str] = []

    def looked_at(home: Path, *more: Any, done: Any) -> None:
        with suppress(Timeout), FileLock(f"{home}.use", timeout=0):
            free.append(home.name)
        done(home, *more)

    for name in ("restore", "write_manifest"):
        monkeypatch.setattr(tree, name, partial(looked_at, done=getattr(tree, name)))
    repositories.change("requirements", "docs", repository.parent)
    found = gate(repository, tmp_path)
    assert not free
    assert (found["verdict"], found["exit_code"], found["evidence"]["units"]) == ("UNREACHED", 8, 1)
    assert gate(repository, tmp_path, allow_identical=True)["verdict"] == "IDENTICAL"


def test_uncommitted_files_are_the_candidate(repository: Path, tmp_path: Path) -> None:
    (repository.parent / "new.txt").write_text("words")
    found = gate(repository, tmp_path)
    assert found["evidence"]["differences"]["files"] == ["new.txt"]
    assert found["evidence"]["sides"]["candidate"]["label"].endswith("with changes)")
    assert found["evidence"]["sides"]["candidate"]["uncommitted"] is True


def test_results_in_the_working_tree_are_no_part_of_it(repository: Path, tmp_path: Path) -> None:
    (repository.parent / "results").mkdir()
    (repository.parent / "results" / "run.json").write_text("{}")
    found = gate(repository, repository.parent)
    assert found["evidence"]["differences"]["files"] == []


def test_nothing_is_measured_where_nothing_differs(repository: Path, tmp_path: Path) -> None:
    found = gate(repository, tmp_path)
    assert (found["verdict"], found["evidence"]["units"]) == ("UNREACHED", 0)


def test_a_branch_cannot_loosen_its_own_gate(repository: Path, tmp_path: Path) -> None:
    text = repository.read_text().replace("max_increase: 5%", "max_increase: 900%")
    repositories.commit(repository.parent, {"ci.yaml": text})
    assert gate(repository, tmp_path)["rules"][0]["rule"] == "cost_per_request_usd max_increase 5 %"
    loose = gate(repository, tmp_path, limits_from="candidate")
    assert loose["rules"][0]["rule"] == "cost_per_request_usd max_increase 900 %"
    assert loose["verdict"] == "UNREACHED", "another limit alone changes nothing that is measured"


def test_a_candidate_that_cannot_import_its_own_code_is_an_error(repository: Path, tmp_path: Path) -> None:
    """The base's packages are not its own: what it does not declare it does not have."""
    repositories.commit(repository.parent, {"requirements.txt": ""})
    found = gate(repository, tmp_path)
    assert (found["verdict"], found["exit_code"]) == ("ERROR", 5)
    assert "No module named 'helperlib'" in found["rules"][0]["reason"]


def test_a_side_that_changes_a_file_of_its_commit_has_a_verdict_that_says_so(
    repository: Path, tmp_path: Path
) -> None:
    """Such as a database that is in the repository. The gate ended without a verdict and without advice."""
    served = (repository.parent / "serve.py").read_text()
    counting = "import os\nwith open('state.db', 'a') as kept:\n    kept.write('x')\n"
    repositories.commit(repository.parent, {"state.db": "x", "serve.py": f"{counting}{served}"})
    found = gate(repository, tmp_path, cap=FEW)
    assert (found["verdict"], found["exit_code"]) == ("ERROR", 5)
    assert "changed its own files (state.db was changed)" in found["rules"][0]["reason"]
    assert "TMPDIR" in found["rules"][0]["reason"]


@pytest.mark.fault(32)
@pytest.mark.bad_input(42)
def test_refs_and_configs_that_are_not_there(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--base nowhere: nowhere is no commit, branch or tag"):
        gate(repository, tmp_path, base="nowhere")
    for option in ("base", "candidate"):
        with pytest.raises(UsageError, match=f"--{option} is empty: name a commit, or leave it out"):
            gate(repository, tmp_path, **{option: ""})
    with pytest.raises(UsageError, match="--candidate nowhere"):
        gate(repository, tmp_path, candidate="nowhere")
    with pytest.raises(BenchError, match="no run or interpreter there; nothing to compare with") as missing:
        gate(repository, tmp_path, base=str(tmp_path / "20260101-run"))
    assert missing.value.exit_code == 5
    outside = tmp_path / "outside.yaml"
    outside.write_text(repository.read_text())
    with pytest.raises(UsageError, match="is in no git repository"):
        gate(outside, tmp_path)


def test_a_broken_config_names_its_commit(repository: Path, tmp_path: Path) -> None:
    repositories.commit(repository.parent, {"ci.yaml": "name: x\nmodle: y\n"})
    with pytest.raises(BenchError, match=r"ci\.yaml in the working tree .*modle: unknown key"):
        gate(repository, tmp_path)


def test_rows_of_one_side_only_are_named(repository: Path, tmp_path: Path) -> None:
    more = "variants:\n  - {name: again}\n"
    text = repository.read_text()
    repositories.commit(repository.parent, {"ci.yaml": text + more})
    found = gate(repository, tmp_path)
    assert found["evidence"]["not_compared"] == ["again"]
    assert found["verdict"] == "UNREACHED"


def test_a_file_of_the_name_of_a_branch_does_not_take_its_place(repository: Path, tmp_path: Path) -> None:
    """A pull request could bring one."""
    fake = repository.parent / "v1.0"
    fake.write_text('#!/bin/sh\nexec python3 "$@"\n')
    fake.chmod(0o755)
    assert gate(repository, tmp_path)["evidence"]["mode"] == "commits"


def test_a_link_does_not_take_the_place_of_a_config(repository: Path, tmp_path: Path) -> None:
    lax = repository.with_name("lax.yaml")
    lax.write_text(repository.read_text().replace("max_increase: 5%", "max_increase: 900%"))
    repository.unlink()
    repository.symlink_to("lax.yaml")
    said = (
        r"ci\.yaml in the working tree .* is a symbolic link to lax\.yaml, .*name the file that it leads to"
    )
    with pytest.raises(UsageError, match=said):
        gate(repository, tmp_path)
    repositories.commit(repository.parent, {})
    repositories.git(repository.parent, "tag", "linked")
    repository.unlink()
    repository.write_text(lax.read_text())
    with pytest.raises(UsageError, match=r"ci\.yaml in linked .* is a symbolic link to lax\.yaml"):
        gate(repository, tmp_path, base="linked")


def test_a_branch_does_not_choose_the_price_of_its_own_gate(repository: Path, tmp_path: Path) -> None:
    text = repository.read_text().replace("usd_per_hour: 1.0", "usd_per_hour: 0.001")
    served = repository.parent / "serve.py"
    slower = served.read_text().replace("WORK = 2000", "WORK = 6000")
    repositories.commit(repository.parent, {"ci.yaml": text, "serve.py": slower})
    assert gate(repository, tmp_path, cap=FEW)["rules"][0]["value"] > 1.5


def test_an_ignored_results_directory_is_no_obstacle(repository: Path, tmp_path: Path) -> None:
    repositories.commit(repository.parent, {".gitignore": "results/\n"})
    for _ in range(2):
        assert gate(repository, repository.parent)["verdict"] == "UNREACHED"


def test_nothing_stays_in_the_users_repository(repository: Path, tmp_path: Path) -> None:
    (repository.parent / "new.txt").write_text("words")
    before = repositories.git(repository.parent, "status", "--porcelain")
    gate(repository, tmp_path)
    assert len(repositories.git(repository.parent, "worktree", "list").splitlines()) == 1
    assert repositories.git(repository.parent, "status", "--porcelain") == before


def test_what_a_process_writes_does_not_reach_the_next(repository: Path, tmp_path: Path) -> None:
    """Answers cached in a file would make every unit but the first cheap."""
    served = repository.parent / "serve.py"
    caching = served.read_text() + (
        "\n\nslow = answer\n\n\ndef answer(prompt, longest):\n"
        "    known = Path(f'cache-{abs(hash(prompt)) % 1}.txt')\n"
        "    if not known.exists():\n        known.write_text(slow(prompt, 10 * longest))\n"
        "    return known.read_text()\n"
    )
    repositories.commit(repository.parent, {"serve.py": caching})
    gate(repository, tmp_path, cap=FEW)
    cached = list((cache_root() / "sides").glob("*/source/cache-*"))
    found = gate(repository, tmp_path / "again", cap=FEW)
    assert found["evidence"]["units_from_earlier_runs"] == 0
    assert len(cached) <= 1, "only the last process's own file is left until the next one starts"


# ---- what counts, and what is kept ---------------------------------------------------------------


def test_a_more_expensive_hour_counts_against_the_branch_that_brings_it(
    repository: Path, tmp_path: Path
) -> None:
    """It was judged by the base's price, so it passed, and the next gate had it on both sides."""
    text = repository.read_text()
    repositories.commit(
        repository.parent, {"ci.yaml": text.replace("usd_per_hour: 1.0", "usd_per_hour: 2.0")}
    )
    found = gate(repository, tmp_path)
    assert (found["verdict"], found["evidence"]["units"]) == ("FAIL", 1)
    assert "price of an hour is 2 times the baseline's" in found["rules"][0]["reason"]


def test_a_cheaper_hour_alone_is_not_measured(repository: Path, tmp_path: Path) -> None:
    text = repository.read_text()
    repositories.commit(
        repository.parent, {"ci.yaml": text.replace("usd_per_hour: 1.0", "usd_per_hour: 0.5")}
    )
    assert gate(repository, tmp_path)["verdict"] == "UNREACHED"
    own = gate(repository, tmp_path, limits_from="candidate", cap=FEW)
    assert own["rules"][0]["value"] < 0.7
    assert own["evidence"]["base_price"]["usd_per_hour"] == 1.0


def test_a_smaller_share_of_the_machine_is_no_cheaper_where_nothing_enforces_it(
    repository: Path, tmp_path: Path
) -> None:
    """``threads: 1`` alone halved the price of own code on a machine of two processors."""
    one = repository.read_text().replace("usd_per_hour: 1.0", "usd_per_hour: 1.0, vcpus: 2")
    every = one.replace("threads: 1, ", "")
    assert one != every
    repositories.commit(repository.parent, {"ci.yaml": every})
    repositories.git(repository.parent, "tag", "every")
    repositories.commit(repository.parent, {"ci.yaml": one})
    found = gate(repository, tmp_path, base="every", cap=FEW)
    assert found["rules"][0]["value"] > 0.75
    assert found["evidence"]["charged_threads"] == {"baseline": None}
    said = " ".join(compared(Effort.from_json(found["evidence"])).lines)
    assert "baseline: charged for all threads of the machine, as its base is" in said
    own = gate(repository, tmp_path, base="every", limits_from="candidate", cap=FEW)
    assert own["rules"][0]["value"] < 0.7


def test_the_same_files_with_another_message_are_the_same_evidence(repository: Path, tmp_path: Path) -> None:
    """Else whoever amends a commit, or pushes an empty one, could try again until it is green."""
    repositories.change("requirements", "template", repository.parent)
    gate(repository, tmp_path, cap=FEW)
    repositories.git(repository.parent, "commit", "--quiet", "--amend", "-m", "other words")
    repositories.git(repository.parent, "commit", "--quiet", "--allow-empty", "-m", "again")
    assert gate(repository, tmp_path, cap=FEW)["evidence"]["units_from_earlier_runs"] == FEW


def test_a_program_that_the_code_starts_by_name_is_of_its_own_environment(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's own Python may hold the candidate's packages, and both sides would run it."""
    job = tmp_path / "job"
    job.mkdir()
    (job / "python").write_text("#!/bin/sh\necho the python of the job >&2\nexit 9\n")
    (job / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{job}:/usr/bin:/bin")
    served = (repository.parent / "serve.py").read_text()
    started = served + (
        "\n\nhere = answer\n\n\ndef answer(prompt, longest):\n"
        "    import subprocess\n"
        "    code = 'import helperlib, sys; print(sys.prefix)'\n"
        "    command = ['python', '-c', code]\n"
        "    return subprocess.run(command, capture_output=True, text=True, check=True).stdout\n"
    )
    repositories.commit(repository.parent, {"serve.py": started})
    found = gate(repository, tmp_path, cap=FEW)
    assert found["rules"][0]["verdict"] == "INCONCLUSIVE", found["rules"][0]["reason"]


def test_what_a_package_keeps_beside_itself_does_not_reach_the_next_process(
    repository: Path, prepared: Path, tmp_path: Path
) -> None:
    """An installed package lies in its side's environment and not in the checkout."""
    kept = "from pathlib import Path\nPLACE = Path(__file__).with_name('known.txt')\n"
    repositories.wheel(prepared / "wheels", "keeplib", "1.0", kept)
    caching = (
        "import atexit\n\nimport keeplib\n\natexit.register(lambda: keeplib.PLACE.write_text('x'))\n\n\n"
        "def answer(prompt):\n"
        "    if keeplib.PLACE.exists():\n        raise RuntimeError('an earlier process was here')\n"
        "    return prompt\n"
    )
    repositories.commit(repository.parent, {"serve.py": caching, "requirements.txt": "keeplib==1.0\n"})
    found = gate(repository, tmp_path, cap=FEW)
    assert found["rules"][0]["verdict"] != "ERROR", found["rules"][0]["reason"]


def test_a_gate_that_measures_whole_rows_sees_what_they_read(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An absolute limit needs a whole run. Nobody noted what was read then, so every change was UNREACHED."""
    monkeypatch.setattr(passes, "ceilings", lambda row: None)  # they need torch, and are no part of this
    text = repository.read_text().replace("max_increase: 5%", "max_increase: 5%, max: 1.0")
    repositories.commit(repository.parent, {"ci.yaml": text})
    repositories.git(repository.parent, "tag", "limited")
    repositories.change("requirements", "template", repository.parent)
    found = gate(repository, tmp_path, base="limited", cap=FEW)
    verdicts = [(rule["verdict"], rule["reason"][:300]) for rule in found["rules"]]
    assert [verdict for verdict, _reason in verdicts] == ["INCONCLUSIVE", "PASS"], verdicts
    assert found["rules"][0]["value"] > 1.5


@pytest.mark.parametrize("place", ["tempfile.gettempdir()", "os.environ['XDG_CACHE_HOME']"])
def test_what_a_process_keeps_in_a_temporary_place_does_not_reach_another(
    place: str, repository: Path, tmp_path: Path
) -> None:
    """Both sides would read the answers that the first of them has kept, and a slow one would pass."""
    caching = (
        "import os, tempfile\nfrom pathlib import Path\n\nSTEPS = 0\n\n\n"
        "def answer(prompt):\n"
        f"    kept = Path({place}) / 'answer-of-the-shop.txt'\n"
        "    if kept.exists() and kept.read_text() != str(os.getpid()):\n"
        "        raise RuntimeError('another process was here')\n"
        "    kept.write_text(str(os.getpid()))\n"
        "    return prompt\n"
    )
    for steps in "12":
        repositories.commit(repository.parent, {"serve.py": caching.replace("STEPS = 0", f"STEPS = {steps}")})
    found = gate(repository, tmp_path, base="HEAD^", cap=FEW)
    assert found["rules"][0]["verdict"] != "ERROR", found["rules"][0]["reason"]
