public import Flow
public import Linux

/// Settings of the kernel by which the flow label of a socket's packets is its transmit hash, or is not.
public enum SockConditions {
  private static let folder = "/proc/sys/net/ipv6/"

  /// Looks at the calling thread's network namespace.
  ///
  /// - Parameter entropy: of the labels. The bit that `flowlabel_state_ranges` has the kernel set is one of their free
  ///   ones, so it is in the way only of labels whose free bits are drawn.
  /// - Returns: a no with the setting that is in the way; untried where it cannot be read.
  public static func label(_ entropy: LabelEntropy = .kernel) -> Finding {
    do throws(SystemError) {
      // ip-sysctl.rst of the kernel's documentation.
      if try value("auto_flowlabels") == "0" {
        return .no(
          "net.ipv6.auto_flowlabels is 0: the kernel makes no flow labels", needs: "another value, as 1")
      }
      if entropy == .flow, try value("flowlabel_state_ranges") != "0" {
        return .no(
          "net.ipv6.flowlabel_state_ranges is on: the kernel sets the first bit of every label, whatever was drawn",
          needs: "net.ipv6.flowlabel_state_ranges=0, or label.entropy kernel")
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
