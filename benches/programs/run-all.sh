# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs in the guest, after the programs beside this file have been put before it: times each and prints "program NAME SECONDS".
uptime_seconds() { cut -d ' ' -f 1 /proc/uptime; }
timed() {
    prepare
    begin=$(uptime_seconds)
    result=$(program)
    end=$(uptime_seconds)
    echo "program $1 $(echo "$begin $end" | awk '{ printf "%.2f", $2 - $1 }') result $result"
}
