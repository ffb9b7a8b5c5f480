#!/bin/sh
# Sessions of Cloakroom in a CGI of any POSIX shell. No cookie: the session comes in request headers, and response
# headers change it.
#
# Commands are header lines: print them before the blank line that ends the headers.

# Percent-encoded text as it is meant, and any text as what a header may carry.
decode() {
    rest=$1
    while :; do
        case $rest in
            *%[0-9A-Fa-f][0-9A-Fa-f]*)
                before=${rest%%\%[0-9A-Fa-f][0-9A-Fa-f]*}
                rest=${rest#"$before"%}
                tail=${rest#??}
                printf %s "$before"
                printf %b "\\0$(printf %o "0x${rest%"$tail"}")"
                rest=$tail
                ;;
            *) break ;;
        esac
    done
    printf %s "$rest"
}

encode() {
    printf %s "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'
}

# Each pair of "a=1&b=two%20words" on a line of its own: key, space, text still encoded.
pairs() {
    printf %s "$1" | tr '&,' '\n\n' | sed -n 's/^ *\([^=]*\)=\(.*\)$/\1 \2/p'
    # What has no line break at its end is a line as well.
    printf '\n'
}

# One key of the session; nothing where it is not set.
session_get() {
    pairs "${HTTP_X_SESSION_DATA-}" | while read -r key text; do
        if [ "$key" = "$1" ]; then decode "$text"; fi
    done
}

# none, live, expired or invalid; and who logged in.
session_state=${HTTP_X_SESSION_STATE-none}
session_user=$(decode "${HTTP_X_SESSION_USER-}")

# Messages for this page, one a line. What follows a ";" are further fields of the message.
session_flashes() {
    pairs "${HTTP_X_SESSION_FLASHES-}" | while read -r level text; do
        if [ -n "$level" ]; then printf '[%s] %s\n' "$level" "$(decode "${text%%;*}")"; fi
    done
}

# Commands, to be called among the headers.
session_set() { printf 'X-Session-Set: %s=%s\n' "$1" "$(encode "$2")"; }
session_add() { printf 'X-Session-Add: %s=%d\n' "$1" "$2"; }                  # counted by the proxy: no update is lost
session_unset() { printf 'X-Session-Unset: %s\n' "$1"; }                      # 'a&b'; '*' drops everything
session_login() { printf 'X-Session-Login: %s\n' "$(encode "$1")"; }          # a new id, the old one is dead
session_destroy() { printf 'X-Session-Destroy: %s\n' "${1-1}"; }              # 1, others or all
session_flash() { printf 'X-Session-Flash: %s=%s\n' "$1" "$(encode "$2")"; }  # shown by the next page

# ---- A page that uses it --------------------------------------------------------------------------------------------
name=$(session_get name)
session_add visits 1
session_set seen "${name:-café € 100%}"                             # any text: it is encoded
if [ "$session_state" = none ]; then session_flash info 'Welcome.'; fi
printf 'Content-Type: text/plain; charset=utf-8\n\n'

printf 'state: %s\nuser: %s\nname: %s\n' "$session_state" "$session_user" "$name"
session_flashes
