internal import Linux

/// The hooks that a program can take on its way out.
public enum TCHook: String, Sendable, CaseIterable {
  case tcx, clsact
}

/// Which packets of an interface a program sees.
enum TCDirection: String {
  case ingress, egress
}

/// A program attached to one interface, by the best hook that the kernel has.
struct TCAttachment: ~Copyable {
  private enum Holder: ~Copyable {
    case tcx(TCXLink)
    case clsact(ClsactFilter)
  }
  private let holder: Holder
  let hook: TCHook

  /// Whether packets still pass the program. A tcx link stays until its interface goes; a filter can be taken away.
  var isThere: Bool {
    switch holder {
    case .tcx: true
    case .clsact(let filter): filter.isThere
    }
  }

  /// - Parameter hook: nil tries tcx and falls back to clsact.
  init(programs: TCPrograms, interface: Interface, hook: TCHook?) throws(BPFError) {
    guard let header = interface.linkHeader else { throw .linkLayer(interface) }
    try self.init(
      program: programs.program(for: header), name: TCPrograms.name(of: header), interface: interface, .egress,
      hook: hook)
  }

  /// - Parameters:
  ///   - program: a descriptor.
  ///   - name: by which a filter that a killed process left is known.
  init(
    program: Int32, name: String, interface: Interface, _ direction: TCDirection, hook: TCHook?
  ) throws(BPFError) {
    do throws(SystemError) {
      if hook != .clsact {
        do throws(SystemError) {
          holder = .tcx(try TCXLink(program: program, interface: interface, direction))
          self.hook = .tcx
          return
        } catch {
          // EINVAL is a kernel that does not know tcx.
          guard hook == nil, error.code == invalidArgument else { throw error }
        }
      }
      holder = .clsact(
        try ClsactFilter(program: program, programName: name, interface: interface, direction))
      self.hook = .clsact
    } catch {
      throw .attach(error)
    }
  }
}

/// EINVAL.
private let invalidArgument: Int32 = 22
