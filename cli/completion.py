"""`wedsync-backup completion`: a script by which a shell completes commands, options and what an option may be.

It is made from the parsers, and asks nobody: whoever types waits for no program. What is a path is left to the shell.
"""

import argparse
import shlex

from cli.exit_codes import ExitCode
from cli.parsers import all_parsers, below, options_of

_SCRIPT = """\
# Shell completion of wedsync-backup. bash: source <(wedsync-backup completion bash), in ~/.bashrc, say.
_wedsync_backup() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} at="" word words=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$at $word" in
            {commands}) at="$at $word" ;;
        esac
    done
    COMPREPLY=()
    case "$at|$before" in
{values}
        *) case "$at" in
{words}
        esac ;;
    esac
    if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$current")); fi
}}
complete -o default -F _wedsync_backup wedsync-backup
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="for which shell")


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    print((_ZSH if arguments.shell == "zsh" else "") + script_for_bash(), end="")
    return ExitCode.OK


def script_for_bash() -> str:
    """Of every command: the words that may follow, and of each option with a value what the value may be."""
    parsers = all_parsers()
    values, words = [], []
    for name, parser in parsers.items():
        at = f" {name}" if name else ""
        options = options_of(parser)
        following = [word for word, _ in below(parser)]
        following += [word for option in options for word in option.option_strings if word.startswith("--")]
        words.append(f"            {_quoted(at)}) words={_quoted(' '.join([*following, '--help']))} ;;")
        for option in options:
            if option.nargs == 0:
                continue
            cases = "|".join(_quoted(f"{at}|{word}") for word in option.option_strings)
            choices = " ".join(map(str, option.choices or ()))
            values.append(f"        {cases}) words={_quoted(choices)} ;;")
    commands = "|".join(_quoted(f" {name}") for name in parsers if name)
    return _SCRIPT.format(commands=commands, values="\n".join(values), words="\n".join(words))


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else "''"
