import Foundation
import PackagePlugin

/// Compiles every `bpf/*.bpf.c` with the toolchain's clang and embeds the object in a Swift file.
@main
struct BPFCompile: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    let folder = context.package.directoryURL.appending(path: "bpf")
    let files = try FileManager.default
      .contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
      .sorted { $0.path < $1.path }
    let headers = files.filter { $0.pathExtension == "h" }
    let clang = try context.tool(named: "clang").url
    let bpf2swift = try context.tool(named: "bpf2swift").url
    return files.filter { $0.lastPathComponent.hasSuffix(".bpf.c") }.map { source in
      let name = source.lastPathComponent.replacing(".bpf.c", with: "")
      let output = context.pluginWorkDirectoryURL.appending(path: "\(name).bpf.swift")
      return .buildCommand(
        displayName: "BPF \(source.lastPathComponent)",
        executable: bpf2swift,
        arguments: [clang.path, source.path, output.path, name],
        inputFiles: [source] + headers,
        outputFiles: [output])
    }
  }
}
