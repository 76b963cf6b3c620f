import Flow
import Glibc
import Lab
import Testing

@testable import NFT

/// What an administrator sees, `nft` being the judge of it.
@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct ListingTests {
  private func lab(except exclusions: Exclusions = .none) throws -> PathLab {
    let lab = try PathLab(interfaces: ["near0"])
    try lab.path.markAll(
      ScopeMarks(ipv6: .label(0x10004), ipv4: .dscp(1, onlyIfUnset: true), except: exclusions))
    lab.mustApply([
      .init(.mark, .near(5000, 6000, .tcp), .label(0x1803c)),
      .init(.mark, .near(5001, 6000, .udp), .label(0xd810f)),
      .init(.mark, .near(5002, 6000, .sctp), .label(0xd810f, .flow)),
      .init(.mark, .near(5003, 6000, .tcp), .dscp(11)),
      .init(.mark, .near(5004, 6000, .tcp, isIPv4: true), .dscp(46)),
      .init(.mark, .near(5005, 6000, .udp, isIPv4: true), .dscp(11, onlyIfUnset: true)),
    ])
    return lab
  }

  @Test("the listing reads as nft would write it itself")
  func golden() throws {
    let text = try lab().list()
    #expect(Self.sorted(text) == Self.sorted(Self.golden))
  }

  @Test("what nft lists, nft loads, and then it is the same to the last expression")
  func reload() throws {
    let lab = try lab(
      except: Exclusions(
        networks: ["2001:db8:7::/48", "10.0.0.0/8", "192.168.1.1"].map { try Network(text: $0) },
        ports: [try #require(PortRange("22")), try #require(PortRange("9000-9100"))]))
    let show = "nft -s --debug=netlink list table inet marker 2>&1 | grep -v '^inet marker .* [0-9]'"
    let ours = try lab.pair.near.shell(show)
    #expect(ours.contains("payload write reg 1 => 4b @ network header + 0"))
    let theirs = try lab.pair.near.shell(
      "nft list table inet marker >/dev/shm/marker-reload.$$; nft flush ruleset; nft -f /dev/shm/marker-reload.$$ && "
        + "rm /dev/shm/marker-reload.$$; \(show)")
    #expect(Self.sorted(theirs) == Self.sorted(ours))
    #expect(try lab.pair.near.shell("nft -j list ruleset").hasPrefix("{\"nftables\""))
  }

  /// Elements and chains come in the order of the kernel's hash.
  private static func sorted(_ text: String) -> [String] {
    text.split { "\n,".contains($0) }.map { line in
      var line = line.drop { " \t".contains($0) }
      if line.hasPrefix("elements = { ") { line = line.dropFirst(13) }
      while line.last == " " || line.last == "}" { line.removeLast() }
      return String(line)
    }.filter { line in
      // The packet marks in `foreign`: the kernel's multicast reports come with numbers of their own.
      !(line.hasPrefix("0x00000") && !line.contains(":"))
        && !(line.hasPrefix("element 00000") && line.hasSuffix(" : 0 [end]"))
    }.sorted()
  }

  private static let golden = """
    table inet marker {
    	map flows4 {
    		type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service : mark
    		counter
    		elements = { 192.0.2.1 . 192.0.2.2 . tcp . 5004 . 6000 counter packets 0 bytes 0 : 0x4ae00000,
    			     192.0.2.1 . 192.0.2.2 . udp . 5005 . 6000 counter packets 0 bytes 0 : 0x68b00000 }
    	}

    	map flows6 {
    		type ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service : mark
    		counter
    		elements = { 2001:db8::1 . 2001:db8::2 . tcp . 5000 . 6000 counter packets 0 bytes 0 : 0x0401803c,
    			     2001:db8::1 . 2001:db8::2 . udp . 5001 . 6000 counter packets 0 bytes 0 : 0x040d810f,
    			     2001:db8::1 . 2001:db8::2 . sctp . 5002 . 6000 counter packets 0 bytes 0 : 0x140d810f,
    			     2001:db8::1 . 2001:db8::2 . tcp . 5003 . 6000 counter packets 0 bytes 0 : 0x08b00000 }
    	}

    	map marks {
    		type mark : verdict
    		elements = { 0x0401803c : goto ip6_label_1803c,
    			     0x040d810f : goto ip6_label_d810f, 0x08b00000 : goto ip6_dscp_11,
    			     0x140d810f : goto ip6_label_d810f_fixed, 0x4ae00000 : goto ip_dscp_46,
    			     0x68b00000 : goto ip_dscp_11_unset }
    	}

    	map kept {
    		type mark : verdict
    	}

    	set foreign {
    		type mark
    		size 256
    		flags dynamic
    	}

    	set interfaces {
    		type ifname
    		elements = { "near0" }
    	}

    	chain match {
    		meta mark set ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport map @flows6 meta mark vmap @marks
    		meta mark set ip saddr . ip daddr . meta l4proto . th sport . th dport map @flows4 meta mark vmap @marks
    		goto rest
    	}

    	chain out {
    		type filter hook postrouting priority mangle; policy accept;
    		oifname != @interfaces return
    		meta mark 0x00000000 goto keep_00000000
    		meta mark vmap @kept
    		add @foreign { meta mark }
    	}

    	chain keep_00000000 {
    		jump match
    		meta mark set 0x00000000
    	}

    	chain rest {
    		ip6 flowlabel 0 jump entropy
    		meta nfproto ipv6 @nh,0,32 set @nh,0,32 & 0xfffd0107 | 0x10004
    		ip dscp cs0 ip dscp set lephb
    	}

    	chain entropy {
    		jhash ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport mod 2 seed 0x7 1 @nh,0,32 set @nh,0,32 | 0x80000
    		jhash ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport mod 2 seed 0x8 1 @nh,0,32 set @nh,0,32 | 0x40000
    		jhash ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport mod 2 seed 0x9 1 @nh,0,32 set @nh,0,32 | 0x100
    		jhash ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport mod 2 seed 0xa 1 @nh,0,32 set @nh,0,32 | 0x2
    		jhash ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport mod 2 seed 0xb 1 @nh,0,32 set @nh,0,32 | 0x1
    	}

    	chain ip6_label_1803c {
    		@nh,0,32 set @nh,0,32 & 0xfffd813f | 0x1803c
    	}

    	chain ip6_label_d810f {
    		ip6 flowlabel 0 @nh,0,32 set @nh,0,32 | 0xc0103
    		@nh,0,32 set @nh,0,32 & 0xfffd810f | 0x1800c
    	}

    	chain ip6_label_d810f_fixed {
    		@nh,0,32 set @nh,0,32 & 0xfffd810f | 0xd810f
    	}

    	chain ip6_dscp_11 {
    		ip6 dscp set 0x0b
    	}

    	chain ip_dscp_46 {
    		ip dscp set ef
    	}

    	chain ip_dscp_11_unset {
    		ip dscp cs0 ip dscp set 0x0b
    	}
    }
    """
}
