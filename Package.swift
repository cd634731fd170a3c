// swift-tools-version: 6.2
import PackageDescription

/// Tests/fuzz builds with SPOKE_FUZZ=1: then every target is ordinary Swift and counts the edges that
/// an input reaches, which is what libFuzzer steers by.
let isFuzzing = Context.environment["SPOKE_FUZZ"] == "1"
let lane: [SwiftSetting] =
  isFuzzing
  ? [.unsafeFlags(["-sanitize=fuzzer"])]
  : [.enableExperimentalFeature("Embedded", .when(configuration: .release))]

/// Tests/simulate builds with SPOKE_MUTATIONS=1 to see that the simulator can fail.
let mutations: [SwiftSetting] =
  Context.environment["SPOKE_MUTATIONS"] == "1" ? [.define("SPOKE_MUTATIONS")] : []

// Debug builds are ordinary Swift; release builds are Embedded Swift, which is what runs on a board.
// Every source file compiles in both. Nothing here needs an SDK or a package from elsewhere.
let common: [SwiftSetting] =
  [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)] + lane + mutations

/// Pure targets are deterministic machines: no C module, no clock, no descriptor.
let pure: [SwiftSetting] = common + [.strictMemorySafety()]

/// Calls stay calls until the linker sees all of them, which makes a module smaller.
let outOfLine: [SwiftSetting] =
  isFuzzing
  ? []
  : [
    .unsafeFlags(
      ["-Xfrontend", "-sil-inline-threshold", "-Xfrontend", "0"], .when(configuration: .release))
  ]

/// Machines that run when a configuration or a resource is read, not for every record.
let compact: [SwiftSetting] = pure + outOfLine

/// The only targets that touch the operating system.
let impure: [SwiftSetting] = common

/// Tests are always ordinary Swift. They do not carry the Embedded setting even for release builds:
/// SwiftPM would pass it to the debug link too, and the test bundle would find no test.
let tests: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

#if arch(arm64)
  let runtime = "-l:aarch64/swiftrt.o"
#else
  let runtime = "-l:x86_64/swiftrt.o"
#endif

/// `Dictionary` needs libm in Embedded Swift.
let mathematics: [LinkerSetting] = [.linkedLibrary("m")]

/// SwiftPM passes the Embedded setting to the debug link, too, which then leaves out what registers types and
/// conformances with the ordinary runtime: a debug program would crash at the first one that is looked up. GNU's
/// linkers do not look for a file in a folder.
let link: [LinkerSetting] =
  isFuzzing
  ? mathematics
  : mathematics + [
    .unsafeFlags(
      ["-use-ld=lld", "-static-stdlib", "-Xlinker", runtime], .when(configuration: .debug))
  ]

let package = Package(
  name: "spoke",
  products: [
    .executable(name: "spoked", targets: ["spoked"]),
    .executable(name: "spokectl", targets: ["spokectl"]),
    .executable(name: "board-emulator", targets: ["board-emulator"]),
    .library(name: "NetworkingCore", targets: ["NetworkingCore"]),
  ],
  targets: [
    // C boundaries: headers and inline shims only.
    .target(name: "CLinux"),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
      name: "CMosquitto", pkgConfig: "libmosquitto", providers: [.apt(["libmosquitto-dev"])]),

    // Pure machines.
    .target(name: "Primitives", swiftSettings: pure),
    .target(name: "HPACK", dependencies: ["Primitives"], swiftSettings: pure),
    .target(name: "HTTP2", dependencies: ["HPACK", "Primitives"], swiftSettings: pure),
    .target(name: "Policy", dependencies: ["Primitives"], swiftSettings: pure),
    .target(
      name: "NetworkingCore", dependencies: ["Policy", "GRPC", "HTTP2", "HPACK", "Primitives"],
      swiftSettings: pure),
    .target(name: "Protobuf", dependencies: ["Primitives"], swiftSettings: pure),
    .target(name: "GRPC", dependencies: ["Primitives"], swiftSettings: pure),
    .target(
      name: "XDS", dependencies: ["Policy", "GRPC", "HTTP2", "HPACK", "Protobuf", "Primitives"],
      swiftSettings: compact),
    .target(name: "Ingest", dependencies: ["Primitives"], swiftSettings: pure),
    .target(
      name: "Configuration", dependencies: ["Ingest", "Primitives"], swiftSettings: compact),
    .target(name: "Spool", dependencies: ["Primitives"], swiftSettings: pure),
    .target(
      name: "Gateway",
      dependencies: [
        "Configuration", "Ingest", "Spool", "NetworkingCore", "XDS", "Policy", "GRPC", "Protobuf",
        "HTTP2", "HPACK", "Primitives",
      ],
      exclude: ["Proto"],
      swiftSettings: pure),

    // The operating system.
    .target(
      name: "Platform", dependencies: ["CLinux", "COpenSSL", "CMosquitto", "Primitives"],
      swiftSettings: impure + outOfLine),

    // Programs.
    .executableTarget(
      name: "spoked",
      dependencies: [
        "Gateway", "Configuration", "Ingest", "Spool", "NetworkingCore", "XDS", "Policy",
        "Platform", "Primitives",
      ],
      swiftSettings: impure, linkerSettings: link),
    .executableTarget(
      name: "spokectl",
      dependencies: ["Configuration", "Gateway", "Spool", "Platform", "Primitives"],
      swiftSettings: impure, linkerSettings: link),
    .executableTarget(
      name: "board-emulator", dependencies: ["Ingest", "Platform", "Primitives"],
      swiftSettings: impure, linkerSettings: link),

    // Tests. The probe lets oracles written by others drive the pure machines from outside.
    .executableTarget(
      name: "probe",
      dependencies: [
        "HPACK", "HTTP2", "Configuration", "Ingest", "Spool", "NetworkingCore", "Policy",
        "Gateway", "XDS", "GRPC", "Protobuf", "Platform", "CLinux", "Primitives",
      ],
      path: "Tests/Probe", swiftSettings: impure, linkerSettings: link),
    .testTarget(
      name: "PrimitivesTests", dependencies: ["Primitives"], swiftSettings: tests),
    .testTarget(
      name: "HPACKTests", dependencies: ["HPACK", "Primitives"], swiftSettings: tests),
    .testTarget(
      name: "HTTP2Tests", dependencies: ["HTTP2", "HPACK", "Primitives"], swiftSettings: tests),
    .testTarget(name: "ProtobufTests", dependencies: ["Protobuf"], swiftSettings: tests),
    .testTarget(name: "GRPCTests", dependencies: ["GRPC", "Primitives"], swiftSettings: tests),
    .testTarget(
      name: "PolicyTests", dependencies: ["Policy", "Primitives"], swiftSettings: tests),
    .testTarget(
      name: "XDSTests", dependencies: ["XDS", "Policy", "GRPC", "Protobuf", "Primitives"],
      swiftSettings: tests),
    .testTarget(
      name: "NetworkingCoreTests",
      dependencies: ["NetworkingCore", "Policy", "GRPC", "HTTP2", "HPACK", "Primitives"],
      swiftSettings: tests),
    .testTarget(
      name: "ConfigurationTests", dependencies: ["Configuration", "Ingest", "Primitives"],
      swiftSettings: tests),
    .testTarget(
      name: "IngestTests", dependencies: ["Ingest", "Primitives"], swiftSettings: tests),
    .testTarget(
      name: "PlatformTests", dependencies: ["Platform", "CLinux", "Primitives"],
      swiftSettings: tests),
    // Doubles and messages that the simulator uses, too.
    .target(
      name: "TestSupport", dependencies: ["Spool", "XDS", "Protobuf", "Platform", "Primitives"],
      path: "Tests/Support",
      swiftSettings: common),
    .testTarget(
      name: "SpoolTests", dependencies: ["Spool", "TestSupport", "Primitives"],
      swiftSettings: tests),
    .testTarget(
      name: "GatewayTests",
      dependencies: [
        "Gateway", "Configuration", "NetworkingCore", "XDS", "Policy", "GRPC", "Protobuf", "HTTP2",
        "HPACK", "Spool", "TestSupport", "Primitives",
      ], swiftSettings: tests),

    // The whole daemon in a world of faults, out of one seed. One module: what is generic over the disk,
    // nearly all of the daemon, is compiled in each module that uses it. A test bundle links it, too, and has to
    // be linked as the others are.
    .executableTarget(
      name: "simulate",
      dependencies: [
        "Gateway", "Configuration", "Ingest", "Spool", "NetworkingCore", "XDS", "Policy", "GRPC",
        "Protobuf", "HTTP2", "HPACK", "TestSupport", "Platform", "Primitives",
      ], path: "Tests/Simulator", swiftSettings: common, linkerSettings: mathematics),
    .testTarget(
      name: "SimulatorTests", dependencies: ["simulate", "Primitives"], swiftSettings: tests),

    // What libFuzzer runs, and the replay of everything it has found.
    .target(
      name: "FuzzTargets",
      dependencies: [
        "Gateway", "Configuration", "Ingest", "Spool", "XDS", "Policy", "GRPC", "Protobuf", "HTTP2",
        "HPACK", "TestSupport", "Primitives",
      ], path: "Tests/Fuzz/Targets", swiftSettings: tests),
    .testTarget(
      name: "FuzzTests", dependencies: ["FuzzTargets", "TestSupport", "Primitives"],
      swiftSettings: tests),
  ]
    + (isFuzzing
      ? [
        .executableTarget(
          name: "fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Runner",
          swiftSettings: tests)
      ] : [])
)
