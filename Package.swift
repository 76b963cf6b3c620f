// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// A C library as Debian packages it.
func system(_ name: String, pkgConfig: String, apt: String) -> Target {
  .systemLibrary(
    name: name, path: "Sources/\(name)", pkgConfig: pkgConfig, providers: [.apt([apt])])
}

let package = Package(
  name: "marker",
  products: [
    .executable(name: "marker", targets: ["MarkerMain"]),
    .executable(name: "marker-bench", targets: ["Bench"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    .target(name: "Flow", swiftSettings: settings),
    .target(name: "Firefly", dependencies: ["Flow", "Linux", "CLinux"], swiftSettings: settings),
    .target(name: "Linux", dependencies: ["Flow", "CLinux"], swiftSettings: settings),
    .target(
      name: "XDP", dependencies: ["Flow", "Linux", "CBPF", "CLinux", "CTable", "CXDP"],
      swiftSettings: settings, plugins: ["BPFCompile"]),
    .target(
      name: "NFT", dependencies: ["Flow", "Linux", "CLinux", "CMNL", "CNFT"], swiftSettings: settings),
    .target(
      name: "Marker",
      dependencies: [
        "Flow", "Firefly", "Linux", "XDP", "NFT", "CLinux", "CYAML",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      resources: [.embedInCode("Web")],
      swiftSettings: settings),
    .executableTarget(
      name: "MarkerMain",
      dependencies: ["Marker", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: settings),

    .target(name: "BenchReport", swiftSettings: settings),
    .executableTarget(
      name: "Bench",
      dependencies: [
        "BenchReport", "Flow", "Firefly", "Linux", "XDP", "NFT", "Lab", "CBPF", "CLinux", "CTable",
      ],
      swiftSettings: settings),

    system("CBPF", pkgConfig: "libbpf", apt: "libbpf-dev"),
    system("CMNL", pkgConfig: "libmnl", apt: "libmnl-dev"),
    system("CNFT", pkgConfig: "libnftnl", apt: "libnftnl-dev"),
    system("CXDP", pkgConfig: "libxdp", apt: "libxdp-dev"),
    system("CYAML", pkgConfig: "yaml-0.1", apt: "libyaml-dev"),
    .systemLibrary(name: "CTable", path: "Sources/CTable"),
    .target(name: "CLinux"),

    .executableTarget(name: "bpf2swift", swiftSettings: settings),
    .plugin(name: "BPFCompile", capability: .buildTool(), dependencies: ["bpf2swift"]),

    .target(
      name: "Lab", dependencies: ["Flow", "Linux", "CBPF", "CLinux"], path: "Tests/Lab",
      swiftSettings: settings),
    .testTarget(name: "BenchReportTests", dependencies: ["BenchReport"], swiftSettings: settings),
    .testTarget(name: "FlowTests", dependencies: ["Flow"], swiftSettings: settings),
    .testTarget(
      name: "XDPTests", dependencies: ["XDP", "Flow", "Linux", "Lab", "CBPF", "CTable"],
      swiftSettings: settings),
    .testTarget(
      name: "NFTTests", dependencies: ["NFT", "Flow", "Linux", "Lab", "CLinux"], swiftSettings: settings),
    .testTarget(
      name: "MarkerTests",
      dependencies: [
        "Marker", "Firefly", "XDP", "Flow", "Linux", "Lab",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "LabTests",
      dependencies: [
        "Marker", "XDP", "Flow", "Linux", "Lab", "CLinux", .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "FireflyTests", dependencies: ["Firefly", "Flow", "Linux"], swiftSettings: settings),
  ]
)

// `make fuzz` alone builds the fuzz targets: they are linked with libFuzzer, whose archive this names.
if let libFuzzer = Context.environment["MARKER_LIBFUZZER"] {
  package.targets += [
    .systemLibrary(name: "CFuzz", path: "Tests/Fuzz/CFuzz"),
    .executableTarget(
      name: "Fuzz",
      dependencies: ["Marker", "Firefly", "XDP", "NFT", "Flow", "Linux", "CBPF", "CLinux", "CFuzz"],
      path: "Tests/Fuzz", exclude: ["CFuzz", "corpus"], swiftSettings: settings,
      linkerSettings: [.unsafeFlags([libFuzzer, "-lstdc++"])]),
  ]
}
