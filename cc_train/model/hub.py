"""A finished checkpoint, pushed to a model hub with its card."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from cc_core.names import CONFIG_FILE
from cc_core.standalone import is_alone
from cc_core.terminal.text import one_line
from cc_train.config.parser import UsageError


class PushError(RuntimeError):
    """The checkpoint is finished, but the hub did not take it; the message says why."""


@dataclass(frozen=True)
class Repository:
    """A repository on the hub.

    Args:
        name: ``OWNER/NAME``, or ``NAME`` for a repository of the user whom the token belongs to.
        token: None for the one that is logged in.
        private: whether it is made private; None for the owner's default.
        revision: the branch to push to; None for the main one.
    """

    name: str
    token: str | None = None
    private: bool | None = None
    revision: str | None = None

    def make(self) -> Repository:
        """Make the repository unless it is there, and return it under its full name.

        Raises:
            UsageError: the hub cannot be reached, or does not let us.
        """
        from huggingface_hub import HfApi

        try:
            made = HfApi(token=self.token).create_repo(self.name, private=self.private, exist_ok=True)
        except Exception as error:  # whatever the client, the connection and the hub raise
            raise UsageError(f"{self.name} cannot be made on the hub: {one_line(error)}") from error
        return Repository(made.repo_id, self.token, self.private, self.revision)

    def push(self, directory: Path) -> str:
        """Upload everything in ``directory``, a finished checkpoint, and return its address.

        Raises:
            PushError: the hub does not take it.
        """
        from huggingface_hub import HfApi

        client = HfApi(token=self.token)
        try:
            if self.revision is not None:
                client.create_branch(self.name, branch=self.revision, exist_ok=True)
            pushed = client.upload_folder(
                repo_id=self.name,
                folder_path=directory,
                commit_message="Upload a checkpoint of cc-train",
                revision=self.revision,
            )
        except Exception as error:  # whatever the client, the connection and the hub raise
            branch = [] if self.revision is None else ["--revision", self.revision]
            again = shlex.join(["cc-train", "push", str(directory), self.name, *branch])
            raise PushError(
                f"{directory} is finished, but cannot be pushed to {self.name}: {one_line(error)}; "
                f"push it with: {again}"
            ) from error
        return str(pushed.commit_url)


def require_finished(directory: Path) -> None:
    """Raise `UsageError` unless ``directory`` holds what a run writes: a checkpoint or a connection, and its card."""
    for name in ("README.md", CONFIG_FILE):
        if not (directory / name).is_file() and not (name == CONFIG_FILE and is_alone(directory)):
            raise UsageError(f"{directory}: holds no {name}; name the --output of a finished run")
