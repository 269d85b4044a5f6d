# SPDX-License-Identifier: MIT OR Apache-2.0
# Rounds of processes, pipes, compression and signals for $SECONDS_TO_RUN; any wrong result ends them.

fail() {
    echo "round $round: $*"
    exit 1
}

cd /tmp
# Something that compresses, and something that does not.
cat /bin/busybox /etc/viridian/start >mixed
head -c 300000 /dev/urandom >>mixed
sum=$(md5sum <mixed)
caught=0
trap 'caught=$((caught + 1))' USR1
round=0
now() { cut -d. -f1 /proc/uptime; }
end=$(($(now) + SECONDS_TO_RUN))
while [ "$(now)" -lt "$end" ]; do
    round=$((round + 1))

    # Compression through pipes, two at a time.
    one=$(gzip -c mixed | gzip -dc | md5sum) &
    [ "$(gzip -1 -c mixed | gzip -dc | md5sum)" = "$sum" ] || fail "compression"
    wait $! || fail "a background job"
    gzip -c mixed | cat | cat | gzip -dc | cmp - mixed || fail "a long pipe"

    # Many processes at once, each with a result.
    for child in 1 2 3 4 5 6 7 8; do
        (
            [ $((child * child)) -eq "$(echo "$child" | awk '{ print $1 * $1 }')" ] && exit "$child"
            exit 100
        ) &
        eval "pid$child=$!"
    done
    for child in 1 2 3 4 5 6 7 8; do
        eval "wait \$pid$child"
        [ $? -eq $child ] || fail "process $child"
    done

    # Signals to this shell while it waits, and one that ends a sleeper.
    before=$caught
    (kill -USR1 $$) &
    sender=$!
    while [ "$caught" -eq "$before" ]; do wait $sender; done
    [ "$caught" -eq $((before + 1)) ] || fail "signals: $before, then $caught"
    sleep 1000 &
    kill -TERM $!
    wait $!
    [ $? -eq 143 ] || fail "a signal that ends"

    [ $((round % 20)) -ne 0 ] || echo "round $round"
done
echo "round $round"
