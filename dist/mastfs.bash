# Completion of mastfs for bash.  Verbs and options are those that the executable tells.

# What is typed so far of the current word, as the shell will split it: readline has
# split it at '=' and ':', and puts the answer in the place of the last piece only.
_mastfs_word() {
	local line=${COMP_LINE:0:COMP_POINT}
	word=${line##*[[:space:]]}
	piece=${word##*[=:]}
}

_mastfs_verbs() { "$1" help 2>/dev/null | sed -n 's/^  \([a-z][a-z_]*\)  *.*/\1/p'; }

# name or name=VALUE, a line each.
_mastfs_options() {
	"$1" help mount 2>/dev/null | sed -n '/^Options/,$s/^  \([a-z][a-z_]*[^ ]*\)  .*/\1/p'
}

# _mastfs_option PROGRAM ITEM: the item of a list "a,b=c" that the cursor is in.
_mastfs_option() {
	local item=$2 head=${2%%=*} form
	if [[ $item != *=* ]]; then
		compopt -o nospace
		COMPREPLY=($(compgen -W "$(_mastfs_options "$1" | sed 's/=.*/=/')" -- "$item"))
		return
	fi
	form=$(_mastfs_options "$1" | sed -n "s/^$head=//p")
	case $form in
	*\|*) COMPREPLY=($(compgen -W "${form//|/ }" -- "${item#*=}")) ;;
	TEXT) compopt -o filenames; COMPREPLY=($(compgen -f -- "${item#*=}")) ;;
	USER) COMPREPLY=($(compgen -u -- "${item#*=}")) ;;
	GROUP) COMPREPLY=($(compgen -g -- "${item#*=}")) ;;
	esac
}

# -l and --word of a verb, and -o if it has that.
_mastfs_letters() {
	"$1" help "$2" 2>/dev/null | sed -n '
		1,/^$/{/ \[*-o /i -o
		}
		s/^  \(-[a-z-]*\)\(, \(--[a-z-]*\)\)\{0,1\}.*/\1 \3/p'
}

# Completes the list of -o; what stands before its last item is part of the answer.
_mastfs_list() {
	local before=${piece%"${piece##*,}"} i
	_mastfs_option "$1" "${word##*,}"
	for i in "${!COMPREPLY[@]}"; do
		COMPREPLY[i]=$before${COMPREPLY[i]}
	done
}

_mastfs() {
	local program=$1 word piece verb=${COMP_WORDS[1]-}
	_mastfs_word
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W "$(_mastfs_verbs "$program")" -- "$word"))
	elif [[ $verb == help ]]; then
		((COMP_CWORD > 2)) ||
			COMPREPLY=($(compgen -W "$(_mastfs_verbs "$program")" -- "$word"))
	elif [[ ${COMP_LINE:0:COMP_POINT} =~ [[:space:]]-o[[:space:]]+[^[:space:]]*$ ]]; then
		_mastfs_list "$program"
	elif [[ $word == -* ]]; then
		COMPREPLY=($(compgen -W "$(_mastfs_letters "$program" "$verb")" -- "$word"))
	else
		compopt -o filenames
		COMPREPLY=($(compgen -f -- "$piece"))
		[[ $verb != mount || $word == *:* ]] ||
			COMPREPLY+=($(compgen -W "s3:// az:// gs:// file:// mast:" -- "$word"))
	fi
}

complete -F _mastfs mastfs
