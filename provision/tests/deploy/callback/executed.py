"""Notes which tasks of the project did something on a host, for the list of what was executed."""

import json
import os

from ansible.plugins.callback import CallbackBase

from ansible import context

DOCUMENTATION = r"""
name: executed
type: aggregate
short_description: Notes which tasks were executed
description:
  - Adds one line of JSON for each executed task to the file that E(EXECUTED_TASKS) names.
  - A task that was skipped on all hosts was not executed.
"""


class CallbackModule(CallbackBase):
    """Writes while the play runs, so that a play that is cut off has told what it did."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "executed"
    CALLBACK_NEEDS_ENABLED = True

    def note(self, task):
        """Adds a line."""
        place, name = task.get_path(), task.get_name(include_role_fqcn=False)
        # A check changes nothing, so it proves only what is said.
        if context.CLIARGS.get("check") and task.action != "ansible.builtin.debug":
            return
        if not place:
            return
        path = place.rsplit(":", 1)[0].rsplit("/ansible/", 1)[-1]
        line = {"file": path, "task": name.rsplit(" : ", 1)[-1]}
        with open(os.environ["EXECUTED_TASKS"], "a", encoding="utf-8") as notes:
            notes.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result):
        """It did what it should."""
        self.note(result.task)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """It refused, which is what some are there for."""
        self.note(result.task)

    def v2_playbook_on_include(self, included_file):
        """It brought further tasks."""
        self.note(included_file._task)
