#!/bin/busybox sh
# First program of a guest that tests a storage driver: a volume group, then one line of a shell.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/bb HOME=/root LC_ALL=C
# There is no udev in here: LVM makes the device nodes itself.
export DM_DISABLE_UDEV=1 LVM_SUPPRESS_FD_WARNINGS=1
/bin/busybox --install -s /bb
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock/lvm
# Waits for the kernel's other processors, of which there are none, take long otherwise.
echo 1 >/sys/kernel/rcu_expedited
# An emulator translates a program's code again for each address that it is found at: with the same
# addresses each time, commands take a third of the time.
echo 0 >/proc/sys/kernel/randomize_va_space
modprobe dm-thin-pool
disk=$(readlink -f /dev/disk/by-qube/data)

export PYTHONPATH=/cargo/src:/cargo/tests:/cargo/packages PYTHONPYCACHEPREFIX=/tmp/pycache
export QUBEWARD_TEST_POOLS=lvm_thin QUBEWARD_TEST_LVM=guest/pool

make_pool() {
    if lvs guest/pool >/dev/null 2>&1; then return; fi
    pvcreate --quiet "$disk" && vgcreate --quiet guest "$disk" &&
        lvcreate --quiet --type thin-pool --size 2g --poolmetadatasize 32m --name pool guest
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
