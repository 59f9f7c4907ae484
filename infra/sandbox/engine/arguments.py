"""The commands that the embedded engine knows, and the flags that each of them takes.

What is not in this table is refused: a flag that were ignored in silence could be the one that
mattered. Flags that only shape the CLI's output are listed too, as `Flag.display`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn


class UsageError(Exception):
    """The command line is wrong, or asks for what the sandbox does not have."""


@dataclass(frozen=True)
class Flag:
    """One flag; a "list" may be given several times."""

    name: str
    kind: Literal["bool", "value", "list"] = "bool"
    short: str = ""
    display: bool = False
    """Accepted without effect: it only shapes what the CLI prints or logs, or holds anyway."""


@dataclass(frozen=True)
class Command:
    """One command: the words that name it, its flags, and how many arguments it takes."""

    words: tuple[str, ...]
    flags: tuple[Flag, ...] = ()
    arguments: str = ""
    least: int = 0
    most: int | None = 0
    """None: any number."""
    aliases: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Invocation:
    """A parsed command line; `options` has an attribute for each flag, ``-`` as ``_``."""

    command: Command
    options: argparse.Namespace
    arguments: tuple[str, ...]
    help: bool = False


def _flags(text: str, *, display: bool = False) -> tuple[Flag, ...]:
    """Read flags such as ``yes/y stack/s= target/t*`` (``=`` takes a value, ``*`` several)."""
    kinds: dict[str, Literal["value", "list"]] = {"=": "value", "*": "list"}
    flags = []
    for item in text.split():
        name, _, short = item.rstrip("=*").partition("/")
        flags.append(Flag(name, kinds.get(item[-1], "bool"), short, display))
    return tuple(flags)


_GLOBAL: Final = (
    *_flags("help/h cwd/C= disable-integrity-checking"),
    *_flags(
        "non-interactive color= emoji/e fully-qualify-stack-names/Q logflow logtostderr verbose/v= "
        "tracing= tracing-header= otel-traces= profiling= memprofilerate=",
        display=True,
    ),
)
_STACK: Final = _flags("stack/s=")
_CONFIG: Final = (*_STACK, *_flags("config-file="))
_YES: Final = _flags("yes/y")
_JSON: Final = _flags("json/j output=")

_UPDATE: Final = (
    *_CONFIG,
    *_YES,
    *_flags(
        "message/m= target/t* target-dependents parallel/p= client= event-log= exec-kind= "
        "config/c* config-path json/j run-program skip-config-validation expect-no-changes"
    ),
    *_flags(
        "exec-agent= debug/d diff show-config show-full-output show-policy-remediations "
        "show-replacement-steps show-sames show-reads show-secrets urns suppress-progress "
        "suppress-permalink skip-plugin-pre-install",
        display=True,
    ),
    *_flags("suppress-outputs"),
)
_CHANGE: Final = _flags("skip-preview/f")
_EXCLUDE: Final = _flags("exclude/x* exclude-dependents")
_REPLACE: Final = _flags("replace* target-replace*")

COMMANDS: Final = (
    Command(("about",), (*_STACK, *_JSON, *_flags("transitive/t", display=True))),
    Command(("cancel",), (*_STACK, *_YES), "[stack]", 0, 1),
    Command(("config",), (*_CONFIG, *_JSON, *_flags("show-secrets"))),
    Command(("config", "get"), (*_CONFIG, *_JSON, *_flags("path")), "<key>", 1, 1),
    Command(("config", "refresh"), (*_CONFIG, *_flags("force/f"))),
    Command(
        ("config", "rm"),
        (*_CONFIG, *_flags("path")),
        "<key>",
        1,
        1,
        (("config", "remove"), ("config", "delete")),
    ),
    Command(
        ("config", "rm-all"),
        (*_CONFIG, *_flags("path")),
        "<key>...",
        1,
        None,
        (("config", "remove-all"), ("config", "delete-all")),
    ),
    Command(
        ("config", "set"),
        (*_CONFIG, *_flags("path plaintext secret type=")),
        "<key> <value>",
        2,
        2,
    ),
    Command(("config", "set-all"), (*_CONFIG, *_flags("path plaintext* secret* json="))),
    Command(
        ("destroy",),
        (
            *_UPDATE,
            *_CHANGE,
            *_EXCLUDE,
            *_flags("exclude-protected refresh/r continue-on-error preview-only remove"),
        ),
    ),
    Command(
        ("install",), _flags("no-plugins no-dependencies reinstall use-language-version-tools")
    ),
    Command(("org", "get-default"), (), aliases=(("org",),)),
    Command(("plugin", "install"), _flags("server= reinstall exact file="), "", 0, 3),
    Command(("plugin", "ls"), (*_JSON, *_flags("project/p")), aliases=(("plugin", "list"),)),
    Command(("plugin", "rm"), (*_YES, *_flags("all/a")), "", 0, 3, (("plugin", "remove"),)),
    Command(
        ("preview",), (*_UPDATE, *_EXCLUDE, *_REPLACE, *_flags("refresh/r")), aliases=(("pre",),)
    ),
    Command(
        ("refresh",),
        (
            *_UPDATE,
            *_CHANGE,
            *_EXCLUDE,
            *_flags("preview-only clear-pending-creates"),
        ),
    ),
    Command(
        ("stack",),
        (*_STACK, *_flags("show-ids/i show-urns/u show-secrets show-name")),
    ),
    Command(("stack", "change-secrets-provider"), _STACK, "<new secrets provider>", 1, 1),
    Command(("stack", "export"), (*_STACK, *_flags("show-secrets file="))),
    Command(
        ("stack", "history"),
        (
            *_STACK,
            *_JSON,
            *_flags("show-secrets page-size= page="),
            *_flags("full-dates", display=True),
        ),
        aliases=(("history",),),
    ),
    Command(("stack", "import"), (*_STACK, *_flags("force/f file="))),
    Command(
        ("stack", "init"),
        (*_STACK, *_flags("secrets-provider= no-select")),
        "[stack]",
        0,
        1,
        (("stack", "new"),),
    ),
    Command(("stack", "ls"), (*_JSON, *_flags("all/a project/p=")), aliases=(("stack", "list"),)),
    Command(("stack", "output"), (*_STACK, *_flags("json/j show-secrets")), "[name]", 0, 1),
    Command(("stack", "rename"), _STACK, "<new name>", 1, 1),
    Command(
        ("stack", "rm"),
        # The stack file is always preserved, so that asking for it changes nothing.
        (*_STACK, *_YES, *_flags("force/f"), *_flags("preserve-config", display=True)),
        "[stack]",
        0,
        1,
        (("stack", "remove"), ("stack", "delete")),
    ),
    Command(("stack", "select"), (*_STACK, *_flags("create/c secrets-provider=")), "[stack]", 0, 1),
    Command(("stack", "tag", "get"), _STACK, "<name>", 1, 1),
    Command(("stack", "tag", "ls"), (*_STACK, *_JSON), aliases=(("stack", "tag", "list"),)),
    Command(("stack", "tag", "rm"), _STACK, "<name>", 1, 1, (("stack", "tag", "remove"),)),
    Command(("stack", "tag", "set"), _STACK, "<name> <value>", 2, 2),
    Command(
        ("state", "delete"),
        (*_STACK, *_YES, *_flags("force all target-dependents")),
        "<urn>...",
        0,
        None,
        (("state", "remove"), ("state", "rm")),
    ),
    *(
        Command(("state", verb), (*_STACK, *_YES, *_flags("all")), "<urn>...", 0, None)
        for verb in ("protect", "unprotect", "taint", "untaint")
    ),
    Command(("state", "rename"), (*_STACK, *_YES), "<urn> <new name>", 2, 2),
    Command(
        ("up",),
        (
            *_UPDATE,
            *_CHANGE,
            *_EXCLUDE,
            *_REPLACE,
            *_flags("refresh/r continue-on-error"),
        ),
        aliases=(("update",),),
    ),
    Command(("version",)),
    Command(("whoami",), _JSON),
)

_BY_WORDS: Final = {
    words: command for command in COMMANDS for words in (command.words, *command.aliases)
}
_GROUPS: Final = {words[:-1] for words in _BY_WORDS if len(words) > 1}
_LONGEST: Final = max(map(len, _BY_WORDS))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(args: Sequence[str]) -> Invocation:
    """Read a command line; raises `UsageError` for what the table does not have."""
    command, rest = _command(list(args))
    before, after = rest, list[str]()
    if "--" in rest:
        cut = rest.index("--")
        before, after = rest[:cut], rest[cut + 1 :]
    name = " ".join(command.words)
    try:
        options, extra = _parser(command).parse_known_args(_plain_booleans(command, before))
    except UsageError as error:
        raise UsageError(f"pulumi {name}: {error}. Nothing was done") from error
    unknown = [item for item in extra if item.startswith("-") and item != "-"]
    if unknown:
        raise UsageError(
            f"the sandbox's engine does not know the flag {unknown[0]!r} of `pulumi {name}`. "
            "Nothing was done: leave it out, or run this in aws mode, with the real CLI"
        )
    arguments = (*extra, *after)
    if not options.help:
        _check_arguments(command, arguments)
    return Invocation(command, options, arguments, options.help)


def _command(args: list[str]) -> tuple[Command, list[str]]:
    leading = {f"--{flag.name}" for flag in _GLOBAL if flag.kind == "bool"}
    start = next((index for index, item in enumerate(args) if item not in leading), len(args))
    for count in range(_LONGEST, 0, -1):
        words = tuple(args[start : start + count])
        if len(words) == count and words in _BY_WORDS:
            rest = args[start + count :]
            if words in _GROUPS and rest and not rest[0].startswith("-"):
                break
            return _BY_WORDS[words], args[:start] + rest
    words = tuple(item for item in args[start : start + 2] if not item.startswith("-"))
    raise UsageError(
        f"the sandbox's engine does not know the command `pulumi {' '.join(words)}`. Nothing was "
        "done. It knows: " + ", ".join(sorted(" ".join(command.words) for command in COMMANDS))
    )


def _parser(command: Command) -> argparse.ArgumentParser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag in _all_flags(command):
        names = [f"--{flag.name}", *([f"-{flag.short}"] if flag.short else [])]
        settings: dict[str, Any] = {"action": "store_true"}
        if flag.kind != "bool":
            settings = {"action": "append", "default": []} if flag.kind == "list" else {}
        parser.add_argument(*names, **settings)
    return parser


def _all_flags(command: Command) -> list[Flag]:
    # A command's own flags and letters come before the global ones of the same name.
    taken: set[str] = set()
    flags: list[Flag] = []
    for flag in (*command.flags, *_GLOBAL):
        if flag.name in taken:
            continue
        short = flag.short if flag.short not in taken else ""
        taken |= {flag.name, short}
        flags.append(Flag(flag.name, flag.kind, short, flag.display))
    return flags


def _plain_booleans(command: Command, args: list[str]) -> list[str]:
    """Turn ``--flag=true`` into ``--flag``, and leave ``--flag=false`` out."""
    booleans = {flag.name for flag in _all_flags(command) if flag.kind == "bool"}
    result = []
    for item in args:
        name, equals, value = item.removeprefix("--").partition("=")
        if not (item.startswith("--") and equals and name in booleans):
            result.append(item)
        elif value.lower() in ("true", "1", "t"):
            result.append(f"--{name}")
        elif value.lower() not in ("false", "0", "f", ""):
            raise UsageError(f"invalid argument {value!r} for --{name}: expected true or false")
    return result


def _check_arguments(command: Command, arguments: tuple[str, ...]) -> None:
    too_many = command.most is not None and len(arguments) > command.most
    if len(arguments) < command.least or too_many:
        raise UsageError(
            f"`pulumi {' '.join(command.words)}` takes {command.arguments or 'no arguments'}, but "
            f"{len(arguments)} were given. Nothing was done"
        )


def usage(command: Command) -> str:
    """Give a command's help text."""
    flags = [
        f"  {f'-{flag.short}, ' if flag.short else '    '}--{flag.name}"
        f"{'' if flag.kind == 'bool' else ' value'}"
        for flag in sorted(_all_flags(command), key=lambda flag: flag.name)
    ]
    words = " ".join(("pulumi", *command.words, command.arguments)).rstrip()
    return "\n".join([f"Usage:\n  {words} [flags]\n\nFlags:", *flags])
