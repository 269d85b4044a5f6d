# SPDX-License-Identifier: MIT OR Apache-2.0
# Processes that come and go on all processors, so that these have to flush each other's translations; then what the kernel's clock is.
i=0
while [ $i -lt 150 ]; do
    i=$((i + 1))
    (:) &
    echo $i | cat | cat >/dev/null
    wait
done
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
