public import ArgumentParser
public import Flow
public import Logging
public import XDP

// The raw values are the words of the command line.
extension LabelEntropy: ExpressibleByArgument {}
extension TCHook: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}
