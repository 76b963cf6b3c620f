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

  /// Where its link is pinned; nil for nowhere.
  var pinned: String? {
    switch holder {
    case .tcx(let link): link.pinned
    case .clsact: nil
    }
  }

  /// The neighbour that it was to be beside is not at this interface's tcx: it runs first.
  var isMisplaced: Bool {
    switch holder {
    case .tcx(let link): link.isMisplaced
    case .clsact: false
    }
  }

  /// - Parameters:
  ///   - hook: nil tries tcx and falls back to clsact.
  ///   - order: where in a tcx chain.
  ///   - pinned: the paths of pins from earlier processes; the first that is there is taken over.
  ///   - ownsQdisc: an earlier process made the qdisc that clsact needs.
  ///   - life: whether the attachment stays when this value goes.
  init(
    programs: TCPrograms, interface: Interface, hook: TCHook?, order: TCXOrder = .first,
    pinned: [String] = [], ownsQdisc: Bool = false, life: MarkLife = MarkLife()
  ) throws(BPFError) {
    guard let header = interface.linkHeader else { throw .linkLayer(interface) }
    try self.init(
      program: programs.program(for: header), name: TCPrograms.name(of: header), interface: interface,
      .egress, hook: hook, order: order, pinned: pinned, ownsQdisc: ownsQdisc, life: life)
  }

  /// - Parameters:
  ///   - program: a descriptor.
  ///   - name: by which a filter that a killed process left is known.
  init(
    program: Int32, name: String, interface: Interface, _ direction: TCDirection, hook: TCHook?,
    order: TCXOrder = .first, pinned: [String] = [], ownsQdisc: Bool = false, life: MarkLife = MarkLife()
  ) throws(BPFError) {
    do throws(SystemError) {
      if hook != .clsact {
        do throws(SystemError) {
          holder = .tcx(
            try TCXLink(
              program: program, interface: interface, direction, order: order, pinned: pinned, life: life))
          self.hook = .tcx
          return
        } catch {
          // EINVAL is a kernel that does not know tcx.
          guard hook == nil, error.code == invalidArgument else { throw error }
        }
      }
      holder = .clsact(
        try ClsactFilter(
          program: program, programName: name, interface: interface, direction, ownsQdisc: ownsQdisc,
          life: life))
      self.hook = .clsact
    } catch {
      throw .attach(error)
    }
  }

  /// Has the attachment go with this value also where the others of its path stay.
  func withdraw() {
    switch holder {
    case .tcx(let link): link.withdraw()
    case .clsact(let filter): filter.withdraw()
    }
  }

  /// Has the attachment outlive the process, as a clsact filter does by itself.
  ///
  /// - Parameters:
  ///   - link: where a link is pinned.
  ///   - qdisc: where a pin says that the qdisc is ours.
  func keep(at link: String, qdisc: String) throws(BPFError) {
    do throws(SystemError) {
      switch holder {
      case .tcx(let held): try held.keep(at: link)
      case .clsact(let filter): try filter.keepQdisc(at: qdisc)
      }
    } catch {
      throw .attach(error)
    }
  }
}

/// EINVAL.
private let invalidArgument: Int32 = 22
