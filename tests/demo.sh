#!/usr/bin/env bash
# `make demo`: one payload goes from one seeder to several workers on this machine; every copy is verified; nothing is left behind.
# BIN: the folder of the programs. N: workers. SIZE: MiB of payload, or FILE: a file or folder of your own.
set -euo pipefail

BIN=${BIN:-target/programs}
N=${N:-4}
SIZE=${SIZE:-256}
FILE=${FILE:-}
LIMIT=${LIMIT:-1800}

fail() {
    echo "error: $*" >&2
    exit 1
}

[[ $N =~ ^[1-9][0-9]*$ ]] || fail "N takes a number of workers, such as 4, not \`$N\`"
[[ $SIZE =~ ^[1-9][0-9]*$ ]] || fail "SIZE takes MiB, such as 256, not \`$SIZE\`"
[[ -z $FILE || -e $FILE ]] || fail "cannot find \`$FILE\`"

dir=$(mktemp -d "${TMPDIR:-/tmp}/hivebt-demo.XXXXXX")
tracker='' seeder='' workers=()

# Ends what still runs, by its id, and removes the folder; also after Ctrl-C.
cleanup() {
    local pid
    trap - EXIT INT TERM
    for pid in ${workers[@]+"${workers[@]}"} $seeder $tracker; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in ${workers[@]+"${workers[@]}"} $seeder $tracker; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

alive() { kill -0 "$1" 2>/dev/null; }

# await FILE PATTERN PID: waits until PATTERN stands in FILE; fails with the file if PID ends first.
await() {
    local until=$((SECONDS + 60))
    until grep -q "$2" "$1" 2>/dev/null; do
        if ! alive "$3" || [ $SECONDS -ge $until ]; then
            cat "$1" >&2
            fail "waited for \`$2\` in vain"
        fi
        sleep 0.05
    done
}

# number KEY FILE: the last value of KEY among the events in FILE, as a whole number.
number() {
    { sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p" "$2" | tail -n 1 | grep .; } || echo 0
}

say_mib() { awk -v b="$1" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }

mkdir "$dir/origin"
if [ -n "$FILE" ]; then
    # The seeder keeps its state beside the payload, so it gets the payload in a folder of its own: by hard links, or else as a copy.
    source=$(realpath "$FILE")
    payload=$dir/origin/$(basename "$source")
    cp -rl "$source" "$payload" 2>/dev/null || { rm -rf "$payload" && cp -r "$source" "$payload"; }
    echo "payload: $source"
else
    payload=$dir/origin/payload.bin
    echo "payload: $SIZE MiB of random bytes"
    head -c "${SIZE}M" /dev/urandom >"$payload"
fi
bytes=$(find -L "$payload" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f", sum }')
free=$(df -Pk "$dir" | awk 'NR == 2 { printf "%.0f", $4 * 1024 }')
[ "$free" -gt $((bytes * N)) ] ||
    fail "$N copies need $(say_mib $((bytes * N))) in $dir, which has $(say_mib "$free"); TMPDIR names another place"

"$BIN/hivebt-tracker" -l 127.0.0.1:0 2>"$dir/tracker.log" &
tracker=$!
await "$dir/tracker.log" 'listening on http://' $tracker
announce=$(sed -n 's|.*listening on \(http://[^ ]*\).*|\1|p' "$dir/tracker.log" | head -n 1)
echo "tracker: $announce"

torrent=$dir/demo.torrent
"$BIN/hivebt-create" --quiet -a "$announce" -o "$torrent" "$payload" >/dev/null
echo "torrent: $("$BIN/hivebt-create" magnet "$torrent" | head -n 1)"

"$BIN/hivebt-peer" seed --json --bind 127.0.0.1 -p 0 -d "$(dirname "$payload")" "$torrent" \
    >"$dir/seeder.json" 2>"$dir/seeder.log" &
seeder=$!
await "$dir/seeder.json" '"event": *"started"' $seeder
echo "seeder: pid $seeder"
echo "workers: $N, each into a folder of its own"

begin=$(date +%s%N)
for i in $(seq "$N"); do
    "$BIN/hivebt-peer" get --seed --json --bind 127.0.0.1 -p 0 -o "$dir/worker-$i" "$torrent" \
        >"$dir/worker-$i.json" 2>"$dir/worker-$i.log" &
    workers+=($!)
done

until_s=$((SECONDS + LIMIT))
last_line=0
while :; do
    done_count=0
    line=
    for i in $(seq "$N"); do
        events=$dir/worker-$i.json
        if grep -q '"event": *"complete"' "$events"; then
            done_count=$((done_count + 1))
            percent=100
        else
            percent=$(number completion_percentage "$events")
            if ! alive "${workers[i - 1]}"; then
                tail -n 20 "$dir/worker-$i.log" >&2
                fail "worker $i ended early"
            fi
        fi
        line+=$(printf '  %d: %3d %%' "$i" "$percent")
    done
    if [ -t 1 ]; then
        printf '\r\033[K%s' "$line"
    elif [ $SECONDS -ne $last_line ] || [ $done_count -eq "$N" ]; then
        last_line=$SECONDS
        echo "$line"
    fi
    [ $done_count -eq "$N" ] && break
    [ $SECONDS -lt $until_s ] || fail "the workers are not done after $LIMIT s"
    sleep 0.1
done
nanos=$(($(date +%s%N) - begin))
[ -t 1 ] && echo

for pid in "${workers[@]}" "$seeder"; do
    kill "$pid" 2>/dev/null || true
done
for pid in "${workers[@]}" "$seeder"; do
    wait "$pid" || true
done
workers=()
seeder=
# The events that come last tell what was sent in all.
sent=$(number total_uploaded "$dir/seeder.json")

name=$(basename "$payload")
for i in $(seq "$N"); do
    "$BIN/hivebt-create" verify "$torrent" "$dir/worker-$i/$name" >"$dir/verify.log" 2>&1 || {
        cat "$dir/verify.log" >&2
        fail "the copy of worker $i is not what the torrent says"
    }
done
echo "verified: $N of $N copies match the torrent"

awk -v n="$N" -v bytes="$bytes" -v ns="$nanos" -v sent="$sent" 'BEGIN {
    s = ns / 1e9; mib = bytes / 1048576
    printf "time: %.1f s for %d copies of %.1f MiB\n", s, n, mib
    printf "speed: %.0f MiB/s in all, %.0f MiB/s for each worker\n", n * mib / s, mib / s
    printf "origin: sent %.1f MiB, %.2f bytes for each byte of payload (%d copies)\n", sent / 1048576, sent / bytes, n
}'
