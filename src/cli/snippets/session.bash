#!/usr/bin/env bash
# Sessions of Cloakroom in a bash CGI. No cookie: the session comes in request headers, and response headers change it.
#
# Commands are header lines: print them before the blank line that ends the headers.

# The functions put their result into REPLY: $(...) would cut line breaks off its end.
decode() {
    local text=${1//\\/\\\\}
    printf -v REPLY '%b' "${text//%/\\x}"
}

encode() {
    local LC_ALL=C text=$1 i byte code
    REPLY=
    for ((i = 0; i < ${#text}; i++)); do
        byte=${text:i:1}
        case $byte in
            [a-zA-Z0-9._~-]) REPLY+=$byte ;;
            *)
                printf -v code '%d' "'$byte"
                printf -v code '%%%02X' "$((code & 255))"
                REPLY+=$code
                ;;
        esac
    done
}

# Each pair of "a=1&b=two%20words": calls $2 with its key and its text.
each_pair() {
    local item items
    IFS='&,' read -r -a items <<<"$1"
    for item in "${items[@]}"; do
        item=${item# }
        decode "${item#*=}"
        "$2" "${item%%=*}" "$REPLY"
    done
}

# The data, the state (none, live, expired, invalid), and who logged in.
declare -A session
remember() { session[$1]=$2; }
each_pair "${HTTP_X_SESSION_DATA-}" remember
session_state=${HTTP_X_SESSION_STATE-none}
decode "${HTTP_X_SESSION_USER-}" && session_user=$REPLY

# Messages for this page: calls $1 with level and text of each. What follows a ";" are further fields of the message.
session_flashes() {
    local item items
    IFS='&,' read -r -a items <<<"${HTTP_X_SESSION_FLASHES-}"
    for item in "${items[@]}"; do each_pair "${item%%;*}" "$1"; done
}

# Commands, to be called among the headers.
session_set() { encode "$2" && printf 'X-Session-Set: %s=%s\n' "$1" "$REPLY"; }
session_add() { printf 'X-Session-Add: %s=%d\n' "$1" "$2"; }                               # counted by the proxy
session_unset() { local IFS='&' && printf 'X-Session-Unset: %s\n' "$*"; }                  # '*' drops everything
session_login() { encode "$1" && printf 'X-Session-Login: %s\n' "$REPLY"; }                # a new id
session_destroy() { printf 'X-Session-Destroy: %s\n' "${1-1}"; }                           # 1, others or all
session_flash() { encode "$2" && printf 'X-Session-Flash: %s=%s\n' "$1" "$REPLY"; }        # shown by the next page

# ---- A page that uses it --------------------------------------------------------------------------------------------
session_add visits 1
session_set seen "${session[name]-café € 100%}"                     # any text: it is encoded
[[ $session_state == none ]] && session_flash info 'Welcome.'
printf 'Content-Type: text/plain; charset=utf-8\n\n'

printf 'state: %s\nuser: %s\n' "$session_state" "$session_user"
for key in "${!session[@]}"; do printf '%s: %s\n' "$key" "${session[$key]}"; done
show() { printf '[%s] %s\n' "$1" "$2"; }
session_flashes show
