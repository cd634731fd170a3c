import Primitives

@main
struct Main {
  static func main() {}
}
