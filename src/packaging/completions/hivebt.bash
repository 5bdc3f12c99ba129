# Completion for bash: verbs and options as the program's own --help names them, else files. To be read by ~/.bashrc, or installed under the name
# of each program in bash-completion's folder, as `make install` does.
_hivebt() {
    local program=$1 word=${COMP_WORDS[COMP_CWORD]} help verbs words
    help=$("$program" --help 2>/dev/null) || return
    verbs=$(sed -nE "s/^ +${program##*/} ([a-z]+)( .*)?$/\1/p" <<<"$help")
    if [[ $word == -* ]]; then
        # A verb may have a help of its own.
        if grep -qxF -e "${COMP_WORDS[1]}" <<<"$verbs"; then
            help=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null) || return
        fi
        words=$(grep -oE -e '(^|[ ,[])--[a-z][a-z-]*' <<<"$help" | tr -d ' ,[')
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    ((COMP_CWORD == 1)) || verbs=''
    mapfile -t COMPREPLY < <(
        compgen -W "$verbs" -- "$word"
        compgen -f -- "$word"
    )
}
complete -o filenames -F _hivebt hivebt-create hivebt-tracker hivebt-peer
