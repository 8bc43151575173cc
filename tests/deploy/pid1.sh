# First process of namespaces of its own, as root; becomes systemd with byteord.service and nothing else.
#
#     unshare --pid --fork --mount --uts --ipc --net --cgroup --mount-proc bash pid1.sh TREE VENV PYTHON
#
# Nothing of the host can be written from here: /etc, /run, /tmp, /var, /home, /root and /dev/shm are fresh, /sys and /proc/sys
# are read-only. (A systemd on the host's /tmp would have its tmpfiles empty it.)
set -eu
tree=$1 venv=$2 python=$3
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir -m 0755 /mnt/etc
for name in passwd group shadow gshadow nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives ssl; do
  if [ -e "/etc/$name" ]; then cp -a "/etc/$name" /mnt/etc/; fi
done
for name in tree venv python; do mkdir "/mnt/$name"; mount --bind "${!name}" "/mnt/$name"; done
for directory in /etc /run /tmp /var /home /root /dev/shm; do mount -t tmpfs -o mode=0755 tmpfs "$directory"; done
chmod 1777 /tmp /dev/shm
cp -a /mnt/etc/. /etc/
mkdir -p /var/lib /etc/systemd/system/byteord.service.d /etc/byteor
for name in tree venv python; do
  if [ ! -e "${!name}" ]; then
    mkdir -p "${!name}"
    mount --bind "/mnt/$name" "${!name}"
  fi
done
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
mount -o remount,ro,bind /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup

tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
cp "$tree/deploy/systemd/byteord.service" /etc/systemd/system/
cp "$tree/deploy/systemd/byteord.toml" /etc/byteor/
# Only what this place makes necessary: where the program lies, no journal, no network to wait for.
cat >/etc/systemd/system/byteord.service.d/here.conf <<END
[Unit]
DefaultDependencies=no
[Service]
ExecStart=
ExecStart=$venv/bin/byteord --config /etc/byteor/byteord.toml
ProtectHome=tmpfs
BindReadOnlyPaths=$tree $venv $python
StandardOutput=append:/run/byteord.log
StandardError=append:/run/byteord.log
END
printf '[Unit]\nDefaultDependencies=no\n' >/etc/systemd/system/nothing.target
systemd-sysusers "$tree/deploy/systemd/byteor.sysusers.conf"
systemd-tmpfiles --create "$tree/deploy/systemd/byteor.tmpfiles.conf"
exec env -i container=byteor PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=nothing.target \
  --log-target=console --show-status=false
