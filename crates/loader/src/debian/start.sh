#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes the guest's system usable, says what the kernel found, does what /etc/viridian/mode names (shell, commands
# or summary) and switches the power off.

export PATH=/bin HOME=/root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
hostname viridian
cd /root

# A pipe can be faster than what reads it here: the port then asks the other end to wait, by its line and not, as init has it,
# by characters among the output.
stty -F /dev/console crtscts -ixoff

for module in $(cat /etc/viridian/modules); do
    insmod "/lib/modules/$module" || echo "The module $module could not be loaded."
done

messages() { dmesg | sed 's/^\(<[0-9]*>\)*\[[^]]*\] //'; }
hyper_v() { messages | grep -E 'Hypervisor detected|Hyper-V|hyperv|hv_vmbus' || echo 'The kernel found no Microsoft Hyper-V.'; }
clock_source() { cat /sys/devices/system/clocksource/clocksource0/current_clocksource; }

# Runs something in a session of its own that owns the console, so that Ctrl-C and job control work.
on_console() { setsid cttyhack "$@"; }

case $(cat /etc/viridian/mode) in
summary)
    echo "== What Linux $(uname -r) says about Hyper-V"
    hyper_v
    echo "== Clock source"
    clock_source
    echo "== Interrupts"
    grep -E '^ *CPU0|Hyper-V|Hypervisor' /proc/interrupts
    echo "== Complaints of the kernel (BUG, WARNING, Oops, unchecked MSR, lockup, stall)"
    messages | grep -wE 'BUG|WARNING|Oops|unchecked MSR|lockup|stalls?' || echo none
    echo "== Power off"
    ;;
commands)
    on_console sh /etc/viridian/commands
    echo "== The commands ended with status $?"
    ;;
*)
    echo
    echo "Linux $(uname -r) is up. What it says about Hyper-V:"
    hyper_v | sed 's/^/    /'
    echo "Clock source: $(clock_source). Leave the shell (exit or Ctrl-D) to switch the power off."
    on_console sh
    ;;
esac

# The console's driver sends from a buffer. stty returns when it is empty, so that the last lines are seen.
stty -F /dev/console echo
poweroff -f
