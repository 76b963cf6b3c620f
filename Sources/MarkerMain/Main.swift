import ArgumentParser
import Marker

/// The daemon's executable: all of it is in the module Marker, so that other programs can be built on that.
@main
enum Main {
  static func main() async { await MarkerCommand.main() }
}
