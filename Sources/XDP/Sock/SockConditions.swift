internal import Glibc
public import Linux

/// Settings of the kernel by which the flow label of a socket's packets is its transmit hash, or is not.
public enum SockConditions {
  private static let folder = "/proc/sys/net/ipv6/"

  /// Looks at the calling thread's network namespace.
  ///
  /// - Returns: a no with the setting that is in the way; untried where it cannot be read.
  public static func label() -> Finding {
    do throws(SystemError) {
      // ip-sysctl.rst of the kernel's documentation.
      if try value("auto_flowlabels") == "0" {
        return .no("net.ipv6.auto_flowlabels is 0: the kernel makes no flow labels", needs: "another value, as 1")
      }
      if try value("flowlabel_state_ranges") != "0" {
        return .no(
          "net.ipv6.flowlabel_state_ranges is on: the kernel sets the label's first bit",
          needs: "net.ipv6.flowlabel_state_ranges=0")
      }
      return .yes
    } catch {
      return .untried("\(error)")
    }
  }

  private static func value(_ name: String) throws(SystemError) -> String {
    String(try contents(ofSmallFile: folder + name).prefix { $0 != "\n" })
  }
}
