"""Every setting of a mount: its name, kind, range and meaning, in the order of the documentation.

Serves `settings`, which finds their values, and the command line. The TOML file, the environment,
the `-o` list, the flags and the documentation are made of this one table, so that they cannot drift
apart.
"""

from aisfs.setting_values import Kind, Setting

_HOUR_S = 3600.0
_MIB = 1 << 20
_LARGEST_ID = (1 << 32) - 2

SETTINGS = (
    Setting(
        "store", "endpoint", Kind.ENDPOINT, "endpoint", "URL of a gateway", variable="AIS_ENDPOINT"
    ),
    Setting("store", "token", Kind.TOKEN, "", "authentication token", variable="AIS_AUTHN_TOKEN"),
    Setting(
        "store",
        "token_file",
        Kind.FILE,
        "token-file",
        "file that holds the token",
        variable="AIS_AUTHN_TOKEN_FILE",
    ),
    Setting(
        "store",
        "ca_file",
        Kind.FILE,
        "ca-file",
        "certificates to trust, PEM",
        variable="AIS_CLIENT_CA",
    ),
    Setting(
        "store", "client_cert", Kind.FILE, "cert", "client certificate, PEM", variable="AIS_CRT"
    ),
    Setting(
        "store",
        "client_key",
        Kind.FILE,
        "key",
        "the client certificate's key, PEM",
        variable="AIS_CRT_KEY",
    ),
    Setting(
        "store",
        "skip_verify",
        Kind.SWITCH,
        "insecure",
        "accept any server certificate",
        variable="AIS_SKIP_VERIFY_CRT",
    ),
    Setting(
        "store",
        "connect_timeout_s",
        Kind.DURATION,
        "connect-timeout",
        "longest wait for a connection",
        least=0.1,
        most=_HOUR_S,
    ),
    Setting(
        "store",
        "first_byte_timeout_s",
        Kind.DURATION,
        "timeout",
        "longest wait for the start of an answer",
        least=0.1,
        most=_HOUR_S,
    ),
    Setting(
        "store",
        "idle_timeout_s",
        Kind.DURATION,
        "idle-timeout",
        "longest pause within an answer",
        least=0.1,
        most=_HOUR_S,
    ),
    Setting(
        "store",
        "connections",
        Kind.COUNT,
        "connections",
        "most connections at once",
        least=1,
        most=1024,
    ),
    Setting(
        "store",
        "transport",
        Kind.TRANSPORT,
        "transport",
        "how small reads travel: direct, on sockets of their own, or sdk",
    ),
    Setting(
        "store",
        "no_ais_cli",
        Kind.SWITCH,
        "no-ais-cli",
        "take nothing from what AIS's own command line is set up for",
    ),
    Setting(
        "store",
        "max_rate",
        Kind.SIZE,
        "max-rate",
        "most bytes in a second, read and written together; 0: no limit",
        least=256 << 10,
        or_zero=True,
        live=True,
    ),
    Setting(
        "store",
        "max_requests",
        Kind.COUNT,
        "max-requests",
        "most requests in a second; 0: no limit",
        least=1,
        most=1_000_000,
        or_zero=True,
        live=True,
    ),
    Setting(
        "cache", "memory", Kind.SIZE, "cache-memory", "memory for what was read", least=8 * _MIB
    ),
    Setting(
        "cache", "dir", Kind.PATH, "cache-dir", "directory where what was read outlives the mount"
    ),
    Setting(
        "cache",
        "size",
        Kind.SIZE,
        "cache-size",
        "most that cache-dir may take; 0 is the smaller of 10 GiB and half of the free "
        "space; where no cache-dir is given, another name of cache-memory",
        least=8 * _MIB,
        or_zero=True,
    ),
    Setting(
        "cache",
        "free",
        Kind.SIZE,
        "cache-free",
        "what cache-dir leaves free on its disk; 0 is the smaller of 1 GiB and 5 %",
    ),
    Setting(
        "readahead",
        "window",
        Kind.SIZE,
        "readahead",
        "how far a sequential reader is read ahead; 0: nothing is read that nobody asked for",
        live=True,
    ),
    Setting("staging", "state_dir", Kind.PATH, "state-dir", "where unsent data is kept"),
    Setting(
        "staging",
        "quota",
        Kind.SIZE,
        "staging-quota",
        "room for unsent data; 0 is the smaller of 10 GiB and half of the free space",
        live=True,
    ),
    Setting(
        "staging",
        "stream_after",
        Kind.SIZE,
        "stream-after",
        "a new file that is longer is sent while it is written; 0: at close and fsync only",
    ),
    Setting(
        "staging",
        "write_back",
        Kind.SWITCH,
        "write-back",
        "let close return when the content is durable here, and send it afterwards",
    ),
    Setting(
        "staging",
        "drain_timeout_s",
        Kind.DURATION,
        "drain-timeout",
        "how long an unmount sends what is unsent; the rest is left to the next mount",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting(
        "views",
        "spool",
        Kind.SIZE,
        "view-spool",
        "room below state-dir for what views unpack; 0 is the smaller of 10 GiB and half of the "
        "free space",
    ),
    Setting("mount", "read_only", Kind.SWITCH, "ro", "refuse every change"),
    Setting("mount", "allow_other", Kind.SWITCH, "allow-other", "let other users in"),
    Setting("mount", "uid", Kind.COUNT, "uid", "owner shown", most=_LARGEST_ID),
    Setting("mount", "gid", Kind.COUNT, "gid", "group shown", most=_LARGEST_ID),
    Setting("mount", "umask", Kind.MODE, "umask", "permissions taken away"),
    Setting("mount", "file_mode", Kind.MODE, "file-mode", "mode of files that carry none"),
    Setting("mount", "dir_mode", Kind.MODE, "dir-mode", "mode of directories that carry none"),
    Setting("mount", "noexec", Kind.SWITCH, "noexec", "run no programs from the mount"),
    Setting("mount", "nonempty", Kind.SWITCH, "nonempty", "mount over a directory with files"),
    Setting(
        "mount", "persist_owner", Kind.SWITCH, "persist-owner", "show the owners that objects carry"
    ),
    Setting(
        "mount",
        "bucket_ops",
        Kind.SWITCH,
        "bucket-ops",
        "let mkdir and rmdir create and destroy buckets",
    ),
    Setting(
        "mount", "no_delete", Kind.SWITCH, "no-delete", "refuse to remove or replace what is there"
    ),
    Setting(
        "mount",
        "no_overwrite",
        Kind.SWITCH,
        "no-overwrite",
        "refuse to write to or replace what is stored; new files can be made",
    ),
    Setting(
        "mount",
        "commands",
        Kind.VERBS,
        "commands",
        "what the cluster may be told to do: all, none, or verbs such as copy:archive",
    ),
    Setting(
        "mount",
        "control",
        Kind.CONTROL,
        "control",
        "the directory .aisfs in the mount's root: hidden, found by name only; visible; or off",
    ),
    Setting(
        "mount",
        "attribute_ttl_s",
        Kind.DURATION,
        "attribute-ttl",
        "age up to which attributes are believed",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting(
        "mount",
        "negative_ttl_s",
        Kind.DURATION,
        "negative-ttl",
        "age up to which a missing name is believed missing",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting(
        "mount",
        "listing_ttl_s",
        Kind.DURATION,
        "listing-ttl",
        "age up to which a listing is believed",
        most=24 * _HOUR_S,
        live=True,
    ),
    Setting("mount", "fuse_debug", Kind.SWITCH, "fuse-debug", "log every kernel request"),
    Setting("log", "level", Kind.LEVEL, "log-level", "least severity that is logged", live=True),
    Setting("log", "file", Kind.PATH, "log-file", "where the log goes"),
    Setting("log", "format", Kind.FORMAT, "log-format", "text, or json: one object for each line"),
    Setting(
        "log",
        "slow_s",
        Kind.DURATION,
        "log-slow",
        "a request of the kernel that takes longer is logged; 0: none is",
        most=_HOUR_S,
    ),
    Setting(
        "metrics",
        "listen",
        Kind.ADDRESS,
        "metrics-listen",
        "HOST:PORT where metrics can be scraped; a port alone is for this machine only",
    ),
)
"""Everything that may be set, in the order of the documentation."""
