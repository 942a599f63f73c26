"""The texts of units and of the logrotate snippet; `ids.service.unit` fills them in.

They ask for nothing newer than systemd 247 (Debian 11). What is in them, and what is left out, is explained in
docs/service.md.
"""

from __future__ import annotations

CONFINED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome={protect_home}
PrivateTmp={private_tmp}
PrivateMounts=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter={calls}
SystemCallErrorNumber=EPERM"""
"""What every one of them is kept from."""

FOLDERS = """\
RuntimeDirectory=ids
RuntimeDirectoryMode=0750
# Other instances have their sockets there too.
RuntimeDirectoryPreserve=yes
StateDirectory=ids
StateDirectoryMode=0750
CacheDirectory=ids
CacheDirectoryMode=0700
LogsDirectory=ids
LogsDirectoryMode=0750
UMask=0027
LimitCORE=0"""

UNIT = """\
{head}; settings of your own belong in a drop-in: systemctl edit {name}

[Unit]
Description=ids, intrusion detection and prevention{about}
Documentation=man:ids(1)
Wants=network-pre.target
After=network-pre.target local-fs.target sys-fs-bpf.mount
ConditionPathExists={config_path}
# A start that fails is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# Made before the namespace in which all of bpffs but this is read-only.
ExecStartPre=+/bin/mkdir -p -m 0700 {pin_dir}
ExecStart={command} run -c {config} --wait-interfaces
ExecReload={command} reload -c {config}
KillMode=mixed
Restart=on-failure
RestartSec=2
# Settings or rules that are refused do not become good by themselves.
RestartPreventExitStatus=2
TimeoutStartSec=10min
# Outputs that hang are waited for, 10 s each.
TimeoutStopSec=90
WatchdogSec={watchdog_s}
Environment=XDG_CACHE_HOME=/var/cache PYTHONUNBUFFERED=1

{folders}
LimitNOFILE=65536
LimitMEMLOCK=infinity
# Blocks hold without the engine, detection does not: others go first where memory runs out.
OOMScoreAdjust=-500

# Programs are loaded (BPF, PERFMON) and attached (NET_ADMIN). Beside libxdp's dispatcher add CAP_SYS_ADMIN in a
# drop-in: other programs are found by their numbers there.
CapabilityBoundingSet=CAP_BPF CAP_NET_ADMIN CAP_PERFMON
AmbientCapabilities=
{confined}

[Install]
WantedBy=multi-user.target
"""

LOGROTATE = """\
{head}. The engine notices a file that was moved or cut off by itself, within a second.
{logs} {{
    daily
    rotate 14
    maxsize 1G
    missingok
    notifempty
    compress
    delaycompress
    create 0640 root adm
}}
"""

CONSOLE = """\
{head}; settings of your own belong in a drop-in: systemctl edit {name}-console

[Unit]
Description=Web console and metrics of ids{about}
Documentation=man:ids-console(1)
After=network.target {name}.service
ConditionPathExists={config_path}

[Service]
Type=exec
ExecStart={command} console -c {config}
Restart=on-failure
RestartSec=2
# Settings or a token that are refused do not become good by themselves.
RestartPreventExitStatus=2
# The engine comes first.
Nice=10
TasksMax=64
Environment=XDG_CACHE_HOME=/var/cache PYTHONUNBUFFERED=1

{folders}
# Pinned maps are read, and with console --write changed.
CapabilityBoundingSet=CAP_BPF
AmbientCapabilities=
{confined}

[Install]
WantedBy=multi-user.target
"""

FEEDS = """\
{head}; settings of your own belong in a drop-in: systemctl edit {name}-feeds

[Unit]
Description=Update of the feeds of ids{about}
Documentation=man:ids-feeds(1)
Wants=network-online.target
After=network-online.target {name}.service
ConditionPathExists={config_path}
# Without a gate there is no list.
ConditionDirectoryNotEmpty={pin_path}

[Service]
Type=oneshot
ExecStart={command} feeds update --due -c {config}
TimeoutStartSec=1h
Nice=10
Environment=XDG_CACHE_HOME=/var/cache PYTHONUNBUFFERED=1

{folders}
# Entries of pinned maps are changed.
CapabilityBoundingSet=CAP_BPF
AmbientCapabilities=
{confined}
"""

TIMER = """\
{head}. Which feeds are due is in the settings (feeds, every).

[Unit]
Description=Update of the feeds of ids{about}
Documentation=man:ids-feeds(1)

[Timer]
OnCalendar=*:0/5
RandomizedDelaySec=60
Persistent=true

[Install]
WantedBy=timers.target
"""
