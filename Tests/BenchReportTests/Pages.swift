import BenchReport

func machine(processor: String = "A 1", load: [Double] = [0.25, 0.5, 1], commit: String = "abc1234")
  -> Machine
{
  Machine(
    processor: processor, processors: 4, architecture: "x86_64", isVirtual: true, kernel: "6.12.1",
    swift: "6.3.1",
    load: load, commit: commit, date: "2026-11-26T06:31:00Z")
}

func figure(
  _ name: String, _ values: [Double], _ unit: String = "ns", _ better: Figure.Better = .less,
  goal: Double? = nil, bench: BenchName = .program, isDetail: Bool = false
) -> Figure {
  Figure(bench, heading: "one packet", name, Samples(values), unit, better, goal: goal, isDetail: isDetail)
}

func figure(
  _ values: [Double], _ unit: String = "ns", _ better: Figure.Better = .less, goal: Double? = nil,
  bench: BenchName = .program
) -> Figure {
  figure("not matching", values, unit, better, goal: goal, bench: bench)
}

func pageOf(_ figures: Figure..., machine: Machine = machine()) throws(PageError) -> Page {
  var page = Page(machine)
  for figure in figures { try page.add(figure) }
  return page
}
