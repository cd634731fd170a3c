import Foundation
import Primitives
import Testing

@testable import Platform

@Suite("The files of a control plane's resources", .oneAtATime)
struct ResourceFileTests {
  @Test("a cache is written whole, for us alone, in a directory that is made, and read back")
  func cache() throws {
    let parent = TemporaryDirectory()
    let directory = parent.file("xds")
    #expect(try ResourceFiles.readCache(in: directory, limit: 100) == nil)
    try ResourceFiles.writeCache([1, 2, 3], in: directory)
    try ResourceFiles.writeCache([4, 5], in: directory)
    #expect(try ResourceFiles.readCache(in: directory, limit: 100) == [4, 5])
    let names = try FileManager.default.contentsOfDirectory(atPath: directory.description)
    #expect(names == ["resources"])
    let attributes = try FileManager.default.attributesOfItem(
      atPath: parent.path + "/xds/resources")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    #expect(throws: FileError.self) { _ = try ResourceFiles.readCache(in: directory, limit: 1) }
  }

  @Test("what a crash left of a write is replaced by the next one")
  func leftovers() throws {
    let directory = TemporaryDirectory()
    try Data(repeating: 9, count: 1_000).write(
      to: URL(fileURLWithPath: directory.file("resources.new").description))
    try ResourceFiles.writeCache([7], in: directory.name)
    #expect(try ResourceFiles.readCache(in: directory.name, limit: 100) == [7])
  }

  @Test("a file that cannot be used is set aside, and a second one takes its place")
  func aside() throws {
    let directory = TemporaryDirectory()
    for content in [[1], [2]] as [[UInt8]] {
      try ResourceFiles.writeCache(content, in: directory.name)
      try ResourceFiles.setCacheAside(in: directory.name)
      #expect(try ResourceFiles.readCache(in: directory.name, limit: 100) == nil)
      let kept = try Data(
        contentsOf: URL(fileURLWithPath: directory.file("resources.corrupt").description))
      #expect(Array(kept) == content)
    }
    #expect(throws: FileError.self) { try ResourceFiles.setCacheAside(in: directory.name) }
  }

  @Test("a directory that is not there, or is no directory, is an error with its name")
  func errors() throws {
    let directory = TemporaryDirectory()
    let error = #expect(throws: FileError.self) {
      try ResourceFiles.writeCache([1], in: directory.file("a/b"))
    }
    #expect(error?.description.hasPrefix(directory.file("a/b").description + ": ") == true)
  }

  @Test("the operator's files are read in the order of their names, *.pb alone")
  func resources() throws {
    let directory = TemporaryDirectory()
    for name in ["20.pb", "10.pb", "notes.txt", ".hidden.pb"] {
      try Data(Array(name.utf8)).write(to: URL(fileURLWithPath: directory.file(name).description))
    }
    let files = try ResourceFiles.read(in: directory.name)
    #expect(files.map { $0.name } == [directory.file("10.pb"), directory.file("20.pb")])
    #expect(files.map { $0.bytes } == [Array("10.pb".utf8), Array("20.pb".utf8)])
  }
}
