/// Whether what a path has attached stays when the path goes. Shared by the path and its attachments.
final class MarkLife {
  /// Set while the daemon is to be followed by another: its attachments then mark on without it.
  var outlivesProcess = false
}
