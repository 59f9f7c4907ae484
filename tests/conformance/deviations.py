"""Where the embedded engine deliberately does otherwise than the Pulumi CLI.

The decision record shows this table; each row names a test that shows the behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RECORD: Final = "docs/decisions/0002-sandbox-deviations.md"


@dataclass(frozen=True)
class Deviation:
    """One deviation: what the CLI does, what the engine does, why, and the test that shows it."""

    cli: str
    here: str
    why: str
    shown_by: str

    @property
    def row(self) -> str:
        """Give the deviation as a row of the record's table."""
        return f"| {self.cli} | {self.here} | {self.why} |"


_HERE: Final = "tests/conformance/test_deviations.py::"
_BACKEND: Final = "tests/sandbox/engine/test_backend.py::"
_CLUSTER: Final = "tests/cluster/test_provider.py::"
_COMMAND: Final = "tests/sandbox/engine/test_command.py::"
_DEPLOYMENT: Final = "tests/sandbox/engine/test_deployment.py::"
_DRIVERS: Final = "tests/sandbox/test_drivers.py::"

PROTECTING: Final = (
    Deviation(
        "Warns of a create that was interrupted; the user looks for what it made.",
        "Looks: what was made is taken into the state, what was not is forgotten, what cannot be"
        " told stays pending.",
        "Nothing is lost or made twice after a kill.",
        f"{_DEPLOYMENT}test_what_an_interrupted_create_made_is_taken_into_the_state",
    ),
    Deviation(
        "Reads no update or delete that was interrupted.",
        "Reads the resource anew before it decides.",
        "A state that is wrong would be built upon.",
        f"{_DEPLOYMENT}test_an_interrupted_update_is_read_anew",
    ),
    Deviation(
        "Deletes again what was deleted for a replacement, where the replacement no longer asks"
        " for deletion first.",
        "Does not.",
        "With a fixed name it would delete what was just made.",
        f"{_HERE}test_what_was_deleted_for_a_replacement_is_not_deleted_again",
    ),
    Deviation(
        "Takes any cloud for the one that the state describes.",
        "Refuses another cloud than the state's, before anything is done.",
        "A sandbox's cloud ends with its server: a refresh against a new one would empty the"
        " state.",
        f"{_BACKEND}test_a_state_refuses_another_cloud_than_its_own",
    ),
    Deviation(
        "Leaves the lock of a dead process until `pulumi cancel`.",
        "Takes it over, says so, and brings what the dead update recorded into the state first. A"
        " lock of another host is respected.",
        "The operating system knows that the owner is dead, and nobody else does.",
        f"{_BACKEND}test_the_lock_of_a_killed_process_is_taken_over_with_a_note",
    ),
    Deviation(
        "`cancel` deletes the lock; the update goes on, unlocked.",
        "`cancel` asks the update to stop: it ends what it has begun and begins nothing more.",
        "Two updates at once spoil a state.",
        "tests/conformance/test_stack_commands.py::"
        "test_cancel_stops_the_running_update_which_keeps_what_it_made",
    ),
    Deviation(
        "`cancel` succeeds where no update runs.",
        "Says so, as an error.",
        "Whoever cancels must know whether anything was.",
        f"{_HERE}test_cancel_without_an_update_says_that_there_is_none",
    ),
    Deviation(
        "`stack import` refuses another stack's name.",
        "And another project's.",
        "All our projects have a stack named dev.",
        f"{_HERE}test_an_export_of_another_project_is_not_imported",
    ),
    Deviation(
        "`config set` and `config rm` write the stack file.",
        "They are overrides in the sandbox's state. The stack file is never written.",
        "A rehearsal must leave no trace in files that are committed.",
        f"{_HERE}test_the_stack_file_is_not_written",
    ),
    Deviation(
        "`stack rm` deletes the stack file, and `stack rename` renames it.",
        "Both leave it alone; `rename` says so.",
        "The same.",
        f"{_HERE}test_removing_or_renaming_a_stack_leaves_its_file",
    ),
    Deviation(
        "Each stack has a salt in its file and a passphrase that the user gives.",
        "A sandbox has one passphrase, made with its home and readable by its owner alone; one"
        " in the environment wins.",
        "A rehearsal asks for nothing, and has no secrets worth more.",
        "tests/sandbox/engine/test_secrets.py::"
        "test_the_home_passphrase_is_made_once_and_readable_by_its_owner_alone",
    ),
    Deviation(
        "`stack import` keeps the file's encryption.",
        "Encrypts the secrets anew with the stack's own key.",
        "A state never needs another passphrase than its home's.",
        f"{_HERE}test_an_imported_secret_is_encrypted_with_the_stacks_own_key",
    ),
    Deviation(
        "Without `--skip-preview`, an update previews without the lock and then takes it.",
        "Holds the lock for both.",
        "What was previewed is what is updated.",
        f"{_BACKEND}test_a_second_update_is_refused_and_told_who_runs_the_first",
    ),
    Deviation(
        "Waits for a program or provider without end.",
        "Ends an update after 30 minutes, or when the program has done nothing for 5, and says"
        " what it waited for.",
        "A program that hangs is a finding, not a night.",
        "tests/sandbox/engine/test_program.py::"
        "test_a_silent_program_is_ended_and_the_message_says_what_came_last",
    ),
    Deviation(
        "Has a provider for nearly every type.",
        "Refuses a type, input or function that no driver would act on.",
        "What was accepted and not done would be a rehearsal of nothing.",
        f"{_DRIVERS}test_a_type_without_a_row_is_refused_and_the_message_says_that_nothing_was"
        "_changed",
    ),
    Deviation(
        "Objects in a cluster are made there.",
        "Where there is no cluster they are recorded, and shown as recorded.",
        "It must be seen what was not rehearsed.",
        "tests/sandbox/engine/test_monitor.py::test_what_the_sandbox_only_records_is_shown_so",
    ),
    Deviation(
        "Leaves it to the API server to refuse a property that a Kubernetes kind lacks.",
        "Refuses it in the preview already.",
        "A typing error in a manifest is found before anything is made.",
        f"{_CLUSTER}test_a_property_that_the_kind_lacks_is_refused_in_preview_already",
    ),
    Deviation(
        "Knows more commands and flags.",
        "Refuses a command or flag that it does not know, with exit code 2.",
        "The flag that is ignored in silence is the one that mattered.",
        f"{_COMMAND}test_what_the_sandbox_does_not_know_is_refused_and_not_ignored",
    ),
    Deviation(
        "Shows the provider's errors as they are.",
        "Takes the values of secret inputs out of them.",
        "Errors go into logs.",
        f"{_DRIVERS}test_no_error_shows_a_secret_value",
    ),
)

HARMLESS: Final = (
    Deviation(
        "Makes a missing virtual environment, or fails.",
        "Runs the program with the interpreter that runs the engine.",
        "`make sandbox` has made one already; a test needs none.",
        f"{_HERE}test_without_its_virtual_environment_a_program_runs_with_this_interpreter",
    ),
    Deviation(
        "`stack import` needs the secrets provider that the file names.",
        "Not where the file shows its secrets.",
        "A stack of AWS can be rehearsed without its key.",
        "tests/conformance/test_stack_commands.py::"
        "test_an_export_that_shows_its_secrets_needs_no_passphrase",
    ),
    Deviation(
        "Encrypts a secret anew each time.",
        "Keeps the ciphertext of one that has not changed.",
        "A state that says the same is the same.",
        f"{_HERE}test_an_unchanged_secret_keeps_its_ciphertext",
    ),
    Deviation(
        "Names a default provider after the plugin that it finds.",
        "Names it after the version that the SDK asks for: `default` where it asks for none.",
        "There is no plugin.",
        f"{_HERE}test_a_default_provider_that_no_version_is_asked_of_is_just_that",
    ),
    Deviation(
        "Waits until objects in a cluster are ready.",
        "Waits until they are applied.",
        "The sandbox's clusters have an API server, and neither controllers nor nodes.",
        "tests/cluster/test_programs.py::"
        "test_a_programs_objects_stand_up_heal_lose_fields_survive_a_kill_and_go",
    ),
    Deviation(
        "A deleted namespace is emptied by the cluster's controllers.",
        "The engine empties it.",
        "The same.",
        f"{_CLUSTER}test_a_namespace_goes_with_all_that_is_in_it",
    ),
    Deviation(
        "`refresh` and `destroy` with `--preview-only` take the lock.",
        "No preview takes it.",
        "A preview changes nothing.",
        f"{_COMMAND}test_a_preview_leaves_state_and_history_as_they_were",
    ),
    Deviation(
        "An unlimited number of steps at once, 16 as a rule.",
        "64 at most, 16 as a rule.",
        "Everything runs on one machine.",
        f"{_COMMAND}test_an_update_is_told_what_its_flags_say",
    ),
)

TABLES: Final = (PROTECTING, HARMLESS)
