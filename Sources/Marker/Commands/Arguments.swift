public import ArgumentParser
public import Flow
public import XDP

// The raw values are the words of the command line.
extension LabelEntropy: ExpressibleByArgument {}
extension TCHook: ExpressibleByArgument {}
