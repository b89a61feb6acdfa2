#!/bin/busybox sh
# First program of a guest that tests the `zfs` driver: a pool, then one line of a shell.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/bb HOME=/root LC_ALL=C
/bin/busybox --install -s /bb
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
echo 1 >/sys/kernel/rcu_expedited
# With the same addresses each time, an emulator runs commands in a third of the time.
echo 0 >/proc/sys/kernel/randomize_va_space
for module in spl zavl znvpair zunicode zlua zcommon icp zzstd zfs; do
    insmod "/cargo/modules/$module.ko"
done
# It links the volumes' devices to their names.
/lib/systemd/systemd-udevd --daemon
disk=$(readlink -f /dev/disk/by-qube/data)

export PYTHONPATH=/cargo/src:/cargo/tests:/cargo/packages PYTHONPYCACHEPREFIX=/tmp/pycache
export QUBEWARD_TEST_POOLS=zfs QUBEWARD_TEST_ZFS=guest/qubes

make_pool() {
    if zpool import -d /dev guest >/dev/null 2>&1; then return; fi
    zpool create -O mountpoint=none guest "$disk" && zfs create guest/qubes
}

# The tests that are named; of the contract's, the part N/OF.
tests() {
    export QUBEWARD_TEST_PART=$1
    shift
    make_pool && cd /cargo/tests && python3 -m pytest -q --color=no -p no:cacheprovider \
        --import-mode=importlib -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function \
        -o "markers=slow: takes long" --rootdir=/cargo -c /dev/null "$@"
}

# Commits to a volume without end, after a look at what was committed before.
commits() {
    make_pool && python3 /cargo/tests/system/lvm_guest_commits.py
}

stty -F /dev/ttyS0 -echo
echo "storage guest: what shall I run?"
read -r line </dev/ttyS0
echo "storage guest: begin"
eval "$line"
echo "storage guest: exit status $?"
sync
poweroff -f
