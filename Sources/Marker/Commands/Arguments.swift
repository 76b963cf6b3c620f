public import ArgumentParser
public import Flow
public import XDP

// The raw values are the words of the command line.
extension CodePointMap.Preset: ExpressibleByArgument {}
extension InterfaceSelection.Discovery: ExpressibleByArgument {}
extension LabelEntropy: ExpressibleByArgument {}
extension PathChoice: ExpressibleByArgument {
  /// The paths that this version has.
  public static var allValueStrings: [String] { ["auto"] + PathKind.allCases.map(\.rawValue) }
}
extension Strategy: ExpressibleByArgument {}
extension TCHook: ExpressibleByArgument {}
