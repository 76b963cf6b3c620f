internal import Glibc

/// Pipes that root makes for a service which may not: in folders such as /run, where only root makes files.
public enum HandedPipe {
  /// Makes a pipe for a user, which anybody may write to, as the service's own are. Where its folder is missing that is
  /// made for the user instead, who then makes the pipe; nothing is done where the user can do it all, or something is
  /// there.
  ///
  /// - Returns: what was made; nil for nothing.
  public static func make(
    _ path: String, for owner: (user: UInt32, group: UInt32)
  ) throws(SystemError) -> String? {
    let folder = Self.folder(of: path)
    var status = stat()
    guard stat(folder, &status) == 0 else {
      try system("mkdir", folder) { mkdir(folder, 0o755) }
      try system("chown", folder) { lchown(folder, owner.user, owner.group) }
      return folder
    }
    if status.st_uid == owner.user { return nil }
    // A folder where others may do as they like is none to hand something over in.
    guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 else { return nil }
    guard mkfifo(path, 0o666) == 0 else {
      if errno == EEXIST { return nil }
      throw SystemError("make named pipe", path)
    }
    try system("chmod", path) { chmod(path, 0o666) }
    try system("chown", path) { lchown(path, owner.user, owner.group) }
    return path
  }

  /// Removes a pipe that was made for a user, so that writers find that nobody reads.
  ///
  /// - Returns: whether there was one.
  public static func remove(_ path: String, of owner: (user: UInt32, group: UInt32)) throws(SystemError)
    -> Bool
  {
    var (folder, pipe) = (stat(), stat())
    guard stat(Self.folder(of: path), &folder) == 0, folder.st_uid != owner.user, lstat(path, &pipe) == 0,
      pipe.st_mode & S_IFMT == S_IFIFO, pipe.st_uid == owner.user
    else { return false }
    try system("unlink", path) { unlink(path) }
    return true
  }

  private static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return "/" }
    return String(path[..<slash])
  }
}
