#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The first program of the guest: makes the system usable, says what the kernel found, does what
# /etc/viridian/mode names (shell, commands or summary) and switches the power off.

export PATH=/bin HOME=/root TERM=vt100
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
hostname viridian
cd /root

# The console's driver sends from a buffer; stty returns when it is empty, so that the last lines are seen.
drain() { stty -F /dev/console echo; }
power_off() { drain; poweroff -f; }

# What halt, poweroff and reboot ask of the first program.
trap 'power_off' USR2
trap 'drain; halt -f' USR1
trap 'drain; reboot -f' TERM

for module in $(cat /etc/viridian/modules); do
    insmod "/lib/modules/$module" || echo "The module $module could not be loaded."
done

messages() { dmesg | sed 's/^\(<[0-9]*>\)*\[[^]]*\] //'; }
hyper_v() { messages | grep -E 'Hypervisor detected|Hyper-V|hv_vmbus' || echo 'The kernel found no Microsoft Hyper-V.'; }
clock_source() { cat /sys/devices/system/clocksource/clocksource0/current_clocksource; }

# A child of its own session that owns the console; waiting for it leaves this shell free to serve its traps.
on_console() {
    setsid cttyhack "$@" &
    wait $!
}

case $(cat /etc/viridian/mode) in
summary)
    echo "== Linux $(uname -r) on Hyper-V: what the kernel says"
    hyper_v
    echo "== Clock source"
    clock_source
    echo "== Interrupts"
    grep -E '^ *CPU0|Hyper-V|Hypervisor' /proc/interrupts
    echo "== Complaints of the kernel (BUG, WARNING, Oops, unchecked MSR, lockup, stall)"
    messages | grep -E 'BUG|WARNING|Oops|unchecked MSR|lockup|stall' || echo none
    echo "== Power off"
    ;;
commands)
    on_console sh /etc/viridian/commands
    echo "== The commands ended with status $?"
    ;;
*)
    echo
    echo "Linux $(uname -r), running as a guest of Hyper-V. It says:"
    hyper_v | sed 's/^/    /'
    echo "The clock source is $(clock_source). Leave the shell (exit or Ctrl-D) to switch off."
    echo
    on_console sh
    ;;
esac
power_off
