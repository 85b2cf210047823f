#!/bin/sh
# Stands in for `adb`: runs what it is told on this machine.
#
# The folder FAKE_PHONE stands for the phone: `tmp` in it for /data/local/tmp, `cpu` for
# /sys/devices/system/cpu, `bin` has Android's programs; a file `gone` means that the
# phone is out of reach. FAKE_DEVICES is what `adb devices` lists, FAKE_ADB=full makes
# copying fail.

here() {
    printf '%s' "$1" |
        sed "s|/data/local/tmp|$FAKE_PHONE/tmp|g; s|/sys/devices/system/cpu|$FAKE_PHONE/cpu|g"
}

fail() {
    echo "$1" >&2
    exit 1
}

echo "$@" >> "$FAKE_PHONE/calls"
if [ "$1" = devices ]; then
    printf 'List of devices attached\n%b\n\n' "${FAKE_DEVICES-phone1\tdevice}"
    exit
fi
[ "$1" = -s ] || fail "usage: -s SERIAL ..."
[ -e "$FAKE_PHONE/gone" ] && fail "error: device '$2' not found"
case $3 in
shell)
    # In a session of its own: on a phone it goes on when adb is killed.
    output=$(PATH=$FAKE_PHONE/bin:$PATH setsid sh -c "$(here "$4")")
    [ -e "$FAKE_PHONE/gone" ] && fail "error: closed"
    echo "$output"
    ;;
push | pull)
    if [ "$3$FAKE_ADB" = pushfull ]; then # the real one says this on stdout, too
        echo "adb: error: failed to copy '$4' to '$5': remote No space left on device"
        exit 1
    fi
    cp "$(here "$4")" "$(here "$5")"
    ;;
esac
