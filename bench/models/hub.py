"""Download from the model hub in a child process, so that Ctrl-C can end it."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.errors import BenchError
from bench.models.files import MODEL_FILES, POOLING


def snapshot(repo: str, revision: str, directory: Path) -> None:
    """Download a repository's model files at one commit."""
    import httpx
    from huggingface_hub import errors, snapshot_download

    try:
        snapshot_download(
            repo,
            revision=revision,
            local_dir=directory,
            allow_patterns=[*MODEL_FILES, POOLING],
            ignore_patterns=["[!1]*/*", "1[!_]*/*"],  # directories, except that of the pooling
        )
    except errors.GatedRepoError as e:
        raise BenchError("the repository is gated: accept its licence on its page and set HF_TOKEN") from e
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as e:
        raise BenchError("no such repository or commit (a private one needs HF_TOKEN)") from e
    except (httpx.HTTPError, OSError) as e:
        raise BenchError(
            f"could not reach the model hub ({type(e).__name__}: {e}); fetch it where there is network "
            "and use {path: DIR}, or use {random: NAME} for speed and memory alone"
        ) from e


def main(arguments: list[str]) -> int:
    """Run the child's command line: REPO REVISION DIRECTORY."""
    try:
        snapshot(arguments[0], arguments[1], Path(arguments[2]))
    except BenchError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
