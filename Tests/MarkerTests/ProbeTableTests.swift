import Testing

@testable import Linux
@testable import Marker

@Suite struct ProbeTableTests {
  @Test func aReasonIsSaidOnce() {
    let reason = "the kernel has a long reason that would hide the rest"
    let text = ProbeTable.text([
      (
        "tc",
        [
          Attempt("one", .no(reason, needs: "much")), Attempt("another", .no(reason, needs: "much")),
          Attempt("third", .yes),
        ]
      ),
      (
        "nft",
        [Attempt("one", .no(reason, needs: "much")), Attempt("two", .yes("x")), Attempt("3", .yes("x"))]
      ),
      ("none of these", []),
    ])
    #expect(
      text == """
        tc
          one      no       \(reason); needs: much
          another  no       as above
          third    yes
        nft
          one      no       \(reason); needs: much
          two      yes      x
          3        yes      x
        none of these
          none

        """)
  }
}
