#!/bin/busybox sh
# The first process of a virtual machine: load what it needs to see the host's files, put a layer
# in memory over them, run /job/command in there, power off. Whatever is written is gone with the
# machine, but below /run/out.
b=/bin/busybox

give_up() {
	echo "init: $*"
	$b poweroff -f
}

for module in $($b cat /job/modules); do
	$b insmod "/modules/$module" || give_up "cannot load $module"
done
shared=trans=virtio,version=9p2000.L,msize=512000
$b mkdir -p /proc /host /layer /new
$b mount -t 9p -o ro,cache=loose,$shared host /host || give_up "cannot see the host's files"
$b mount -t tmpfs -o size=80% layer /layer || give_up "no memory for files"
$b mkdir /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /new ||
	give_up "cannot put a layer over the host's files"

# As an installed system has them.
mount_at() {
	$b mkdir -p "/new/$2"
	$b mount -t "$1" "$1" "/new/$2" || give_up "cannot mount $1"
}
mount_at proc proc
mount_at sysfs sys
mount_at devtmpfs dev
mount_at devpts dev/pts
mount_at tmpfs dev/shm
mount_at tmpfs run
mount_at cgroup2 sys/fs/cgroup
mount_at bpf sys/fs/bpf
$b chmod 1777 /new/dev/shm
$b chmod 755 /new/run
$b ln -sf /proc/self/fd /new/dev/fd

# The kernel asks /sbin/modprobe for modules.
$b mkdir -p /new/run/machine /new/lib/modules
$b cp /bin/busybox /job/command /new/run/machine/
$b ln -sf /run/machine/busybox /new/sbin/modprobe
$b ln -s "$($b cat /job/installed)" "/new/lib/modules/$($b uname -r)"

$b mkdir /new/run/out
$b mount -t 9p -o cache=none,$shared out /new/run/out || give_up "cannot see the results' folder"
$b ip link set lo up
$b hostname machine
echo 1 >/new/proc/sys/kernel/printk
exec $b switch_root /new /run/machine/busybox sh -c '
	bash /run/machine/command </dev/null >/run/out/log 2>&1
	echo $? >/run/out/status
	/run/machine/busybox poweroff -f'
