"""`hopward completion`: what a shell offers for the next word of a call.

Law: a script holds the table of calls as it was when it was printed, and asks hopward for nothing
but the hosts of a configuration, which only hopward can read.
"""

from collections.abc import Iterator

from .calls import CALLS, Argument, Call
from .command_line import takes

_SHOWN = tuple(call for call in CALLS if call.group)


def script(shell: str) -> str:
    """The script for `bash`, `zsh` or `fish`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _options(call: Call) -> list[Argument]:
    return [argument for argument in takes(call) if argument.is_option]


def _operands(call: Call) -> list[Argument]:
    return [argument for argument in call.takes if not argument.is_option]


def _quoted(text: str, quote: str) -> str:
    """Within single quotes; how one stands within them is the shell's own."""
    return "'" + text.replace("'", quote) + "'"


# ---- bash: since 3.2, which macOS has; without the package bash-completion

_BASH = r"""# hopward's completion for bash: eval "$(hopward completion bash)"
_hopward_hosts() {
    local i file=()
    for ((i = 2; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -c ]] && file=(-c "${COMP_WORDS[i + 1]/#\~/$HOME}")
    done
    "${COMP_WORDS[0]/#\~/$HOME}" _hosts "${file[@]}" 2>/dev/null
}

_hopward() {
    local IFS=$'\n' word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    local i operand=0 of= options=
    # Whether the word is the value of an option, or else which operand it is.
    for ((i = 2; i < COMP_CWORD; i++)); do
        of=
        case ${COMP_WORDS[i]} in
            @VALUED@) of=${COMP_WORDS[i]}; i=$((i + 1)) ;;
            -*) ;;
            *) operand=$((operand + 1)) ;;
        esac
    done
    ((i > COMP_CWORD)) || of=
    ((COMP_CWORD > 1)) || command=
    COMPREPLY=()
    case "$command ${of:-$operand}" in
        " 0") options=$'@NAMES@' ;;
@CASES@
    esac
    case $command:$of in
@OPTIONS@
    esac
    [[ -z $options ]] || COMPREPLY+=($(compgen -W "$options" -- "$word"))
}
complete -F _hopward hopward
"""


def _bash() -> str:
    lines = {
        "@VALUED@": "|".join(sorted({o.name for c in _SHOWN for o in _options(c) if o.value})),
        "@NAMES@": r"\n".join(call.name for call in _SHOWN),
        "@CASES@": "\n".join(line for call in _SHOWN for line in _bash_cases(call)),
        "@OPTIONS@": "\n".join(_bash_options(call) for call in _SHOWN),
    }
    return _filled(_BASH, lines)


def _bash_cases(call: Call) -> Iterator[str]:
    for option in _options(call):
        if option.choices or option.completes != "nothing":
            yield f'        "{call.name} {option.name}") {_bash_offer(option)} ;;'
    for number, operand in enumerate(_operands(call)):
        which = '"*' if operand.many else f'{number}"'
        yield f'        "{call.name} {which}) {_bash_offer(operand)} ;;'


def _bash_offer(argument: Argument) -> str:
    if argument.choices:
        return "options=$'" + r"\n".join(argument.choices) + "'"
    generated = {"file": "-f", "folder": "-d"}.get(argument.completes)
    if generated:
        # The names are files: a folder gets its slash, a blank its backslash.
        files = f'COMPREPLY=($(compgen {generated} -- "$word"))'
        return f"compopt -o filenames; {files}"
    return "options=$(_hopward_hosts)"


def _bash_options(call: Call) -> str:
    names = r"\n".join(option.name for option in _options(call))
    return f"        {call.name}:) [[ $word != -* ]] || options=$'{names}' ;;"


# ---- zsh

_ZSH = r"""#compdef hopward
# hopward's completion for zsh: eval "$(hopward completion zsh)", after compinit
_hopward_hosts() {
    local -a file hosts
    local at=${words[(i)-c]}
    ((at >= CURRENT)) || file=(-c ${words[at + 1]/#\~/$HOME})
    hosts=(${(f)"$(_call_program hosts ${_hopward_program:-hopward} _hosts $file 2>/dev/null)"})
    compadd -a hosts
}

_hopward() {
    local -a calls
    local _hopward_program=$words[1]
    if ((CURRENT == 2)); then
        calls=(
@NAMES@
        )
        _describe -t commands command calls
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
@CALLS@
    esac
}
if [[ $funcstack[1] == _hopward ]]; then
    _hopward "$@"
else
    compdef _hopward hopward
fi
"""


def _zsh() -> str:
    names = (f"            {_zsh_quoted(call.name, call.summary)}" for call in _SHOWN)
    calls = (line for call in _SHOWN for line in _zsh_call(call))
    return _filled(_ZSH, {"@NAMES@": "\n".join(names), "@CALLS@": "\n".join(calls)})


def _zsh_call(call: Call) -> Iterator[str]:
    arguments = [*map(_zsh_option, _options(call)), *map(_zsh_operand, _operands(call))]
    yield f"        {call.name}) _arguments " + " ".join(arguments) + " ;;"


def _zsh_option(option: Argument) -> str:
    text = option.text.translate({ord(each): f"\\{each}" for each in "[]:\\"})
    value = f":{option.value}:{_zsh_offer(option)}" if option.value else ""
    return _quoted(f"{option.name}[{text}]{value}", r"'\''")


def _zsh_operand(operand: Argument) -> str:
    many = "*" if operand.many else ""
    return _quoted(f"{many}:{operand.name}:{_zsh_offer(operand)}", r"'\''")


def _zsh_offer(argument: Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    return {"file": "_files", "folder": "_files -/", "host": "_hopward_hosts"}.get(
        argument.completes, " "
    )


def _zsh_quoted(name: str, summary: str) -> str:
    return _quoted(f"{name}:{summary}", r"'\''")


# ---- fish

_FISH = r"""# hopward's completion for fish: hopward completion fish > …/completions/hopward.fish
function __hopward_hosts
    set -l words (commandline -opc)
    set -l at (contains -i -- -c $words)
    and set -l file -c (string replace -r '^~' $HOME -- $words[(math $at + 1)])
    $words[1] _hosts $file 2>/dev/null
end
complete -c hopward -f
@LINES@
"""


def _fish() -> str:
    return _filled(_FISH, {"@LINES@": "\n".join(_fish_lines())})


def _fish_lines() -> Iterator[str]:
    first = "complete -c hopward -n __fish_use_subcommand"
    for call in _SHOWN:
        yield f"{first} -a {call.name} -d {_fishy(call.summary)}"
    for call in _SHOWN:
        here = f"complete -c hopward -n '__fish_seen_subcommand_from {call.name}'"
        for option in _options(call):
            name = option.name.lstrip("-")
            kind = "-l" if option.name.startswith("--") else "-s"
            value = f" {_fish_offer(option)}" if option.value else ""
            yield f"{here} {kind} {name}{value} -d {_fishy(option.text)}"
        for operand in _operands(call):
            yield f"{here} {_fish_offer(operand).removeprefix('-x ')}"


def _fishy(text: str) -> str:
    return _quoted(text, r"\'")


def _fish_offer(argument: Argument) -> str:
    if argument.choices:
        return f"-x -a '{' '.join(argument.choices)}'"
    return {
        "file": "-r -F",
        "folder": "-x -a '(__fish_complete_directories)'",
        "host": "-x -a '(__hopward_hosts)'",
    }.get(argument.completes, "-x")


def _filled(template: str, parts: dict[str, str]) -> str:
    for name, part in parts.items():
        template = template.replace(name, part)
    return template
