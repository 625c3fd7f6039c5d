#!/bin/busybox sh
# Process 1 of the test machine: sets it up, checks it, runs the test programs, goes down. What it prints is read by
# cargo xtask vm: lines that begin with "vm:", and those of Rust's test harness, whose form its own checks take too.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp RUST_BACKTRACE=1
mount -t proc proc /proc
echo "vm: alive"
if grep -qw lb.probe /proc/cmdline; then
    reboot -f
fi
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t bpf bpffs /sys/fs/bpf
ip link set lo up

passed=0
failed=0
check() {
    name=$1
    shift
    if "$@"; then
        echo "test vm::$name ... ok"
        passed=$((passed + 1))
    else
        echo "test vm::$name ... FAILED"
        failed=$((failed + 1))
    fi
}
kernel_is_the_oldest_supported() {
    case $(uname -r) in 6.1.*) true ;; *) false ;; esac
}
modules_load() {
    for module in /modules/*.ko; do
        insmod "$module" || return 1
    done
}

echo "vm: begin $(uname -r)"
check kernel_is_the_oldest_supported kernel_is_the_oldest_supported
check modules_load modules_load
check btf_is_there test -s /sys/kernel/btf/vmlinux
check bpffs_is_writable mkdir /sys/fs/bpf/probe
check veth_pairs_can_be_made ip link add v0 type veth peer name v1
ip link del v0
rmdir /sys/fs/bpf/probe
if [ "$failed" = 0 ]; then result=ok; else result=FAILED; fi
echo "test result: $result. $passed passed; $failed failed"

while read -r name limit directory arguments; do
    echo "vm: run $name"
    cd "$directory" || continue
    # shellcheck disable=SC2086 # several words
    timeout "$limit" "/tests/$name" $arguments </dev/null 2>&1
    echo "vm: ended $name $?"
done </tests/list
echo "vm: end"
reboot -f
