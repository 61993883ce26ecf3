"""Prints the completion script of a shell: commands, options, and the services and messages of the running node.

bash   eval "$(splnode completion bash)"         in ~/.bashrc
zsh    eval "$(splnode completion zsh)"          in ~/.zshrc, behind compinit
fish   splnode completion fish > ~/.config/fish/completions/splnode.fish
"""

import argparse
from typing import Final

from splnode.cli import output

# Bash cuts words at = : and @ as well, and wants only what stands behind the last cut.
BASH: Final = r"""_splnode() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\n' word found i
    word="${line##*[[:space:]]}"
    COMPREPLY=($(set -f; splnode complete -- "$line" 2>/dev/null))
    for i in "${!COMPREPLY[@]}"; do
        found="${COMPREPLY[i]%%$'\t'*}"
        case "$word" in
            *[=:@]*) found="${found#"${word%"${word##*[=:@]}"}"}" ;;
        esac
        COMPREPLY[i]="$found"
    done
    if [ "${#COMPREPLY[@]}" = 1 ]; then
        case "${COMPREPLY[0]}" in *//) compopt -o nospace 2>/dev/null ;; esac
    fi
}
complete -o default -F _splnode splnode
"""

ZSH: Final = r"""#compdef splnode
_splnode() {
    local -a found
    local line word doc tab=$'\t'
    while IFS= read -r line; do
        word="${line%%$tab*}"
        doc="${line#*$tab}"
        [[ "$line" == *$tab* ]] && found+=("${word//:/\\:}:$doc") || found+=("${word//:/\\:}")
    done < <(splnode complete -- "$LBUFFER" 2>/dev/null)
    if (( ${#found} )); then
        _describe -t splnode splnode found
    else
        _files
    fi
}
if [ "${funcstack[1]}" = _splnode ]; then _splnode "$@"; else compdef _splnode splnode; fi
"""

FISH: Final = r"""function __splnode_complete
    set -l found (splnode complete -- (commandline -cp) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c splnode -f -a '(__splnode_complete)'
"""

SCRIPTS: Final = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `completion`."""
    parser.add_argument("shell", choices=tuple(SCRIPTS))


def run(args: argparse.Namespace) -> int:
    """Prints the script."""
    output.emit_text(SCRIPTS[args.shell].rstrip("\n"))
    return 0
