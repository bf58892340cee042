"""Whether a file lies on a network share, where SQLite's write-ahead log is unsafe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["on_network_share"]

#: File systems that are another machine's disk, or lent by the machine that this one runs in.
NETWORK = frozenset(
    {"9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs"}
    | {"lustre", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "prl_fs", "smb", "smb2"}
    | {"smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "webdav"}
    | {f"fuse.{name}" for name in ("ceph", "davfs", "gcsfuse", "glusterfs", "goofys", "juicefs")}
    | {f"fuse.{name}" for name in ("gvfsd-fuse", "mfs", "rclone", "s3fs", "sshfs", "vmhgfs-fuse")}
)


def on_network_share(path: Path) -> bool:
    """Whether a file (which need not exist) lies on another machine's disk.

    The file system of the mount point above it tells; on Windows a path that begins with
    two backslashes, or a drive that is a network's. What cannot be told is taken for a local
    disk.
    """
    import psutil

    place = path.absolute()
    text = str(place)
    if text.startswith(("\\\\", "//")):
        return True
    try:
        mounts = psutil.disk_partitions(all=True)
        place = place.resolve()
    except OSError:
        return False
    above = [
        m for m in mounts if place == Path(m.mountpoint) or Path(m.mountpoint) in place.parents
    ]
    nearest = max(above, key=lambda m: len(m.mountpoint), default=None)
    if nearest is None:
        return False
    return nearest.fstype.lower() in NETWORK or "remote" in nearest.opts.split(",")
