internal import CNFT
internal import Glibc

/// A 32-bit register of the rule machine, 0…15. A longer value takes the ones behind it too.
struct Register: Equatable, Sendable {
  /// `enum nft_registers`: the 32-bit ones start at `NFT_REG32_00`.
  let number: UInt32

  init(_ index: UInt32) { number = UInt32(NFT_REG32_00.rawValue) + index }
  private init(number: UInt32) { self.number = number }

  static let verdict = Register(number: UInt32(NFT_REG_VERDICT.rawValue))
}

/// What to do with a packet.
enum Verdict: Equatable, Sendable {
  case jump(String)
  case goto(String)
  case `return`

  /// `enum nft_verdicts`.
  var code: Int32 {
    switch self {
    case .jump: NFT_JUMP.rawValue
    case .goto: NFT_GOTO.rawValue
    case .return: NFT_RETURN.rawValue
    }
  }

  var chain: String? {
    switch self {
    case .jump(let chain), .goto(let chain): chain
    case .return: nil
    }
  }
}

/// One step of a rule. A step that fails to match, or to read, ends the rule.
enum Expression: Equatable, Sendable {
  enum Meta: Equatable, Sendable {
    case mark, networkProtocol, transport, outputName
    /// Nanoseconds since 1970, 64 bits (Linux 5.4).
    case time

    /// `enum nft_meta_keys`.
    var key: UInt32 {
      switch self {
      case .mark: UInt32(NFT_META_MARK.rawValue)
      case .networkProtocol: UInt32(NFT_META_NFPROTO.rawValue)
      case .transport: UInt32(NFT_META_L4PROTO.rawValue)
      case .outputName: UInt32(NFT_META_OIFNAME.rawValue)
      case .time: UInt32(NFT_META_TIME_NS.rawValue)
      }
    }
  }

  enum Header: Equatable, Sendable {
    case network, transport

    /// `enum nft_payload_bases`.
    var base: UInt32 {
      switch self {
      case .network: UInt32(NFT_PAYLOAD_NETWORK_HEADER.rawValue)
      case .transport: UInt32(NFT_PAYLOAD_TRANSPORT_HEADER.rawValue)
      }
    }
  }

  case loadMeta(Meta, Register)
  case setMark(Register)
  /// Offset and length in bytes.
  case load(Header, at: UInt32, count: UInt32, Register)
  /// Writes to the network header. Kernels from 7.3 on refuse odd offsets.
  case write(Register, at: UInt32, count: UInt32, updatesIPv4Checksum: Bool)
  /// register = register & mask ^ xor
  case bitwise(Register, mask: [UInt8], xor: [UInt8])
  case equal(Register, [UInt8])
  /// Compares as memory does: numbers have to be in network order.
  case isGreater(Register, [UInt8])
  /// Brings 64 bits into network order.
  case toNetworkOrder(Register)
  /// Into a register, into the verdict, or as a question.
  case lookUp(Register, set: String, into: Register?)
  case isNotIn(Register, set: String)
  case immediate(Register, [UInt8])
  case verdict(Verdict)
  /// Jenkins' hash of `count` bytes, modulo `modulus`.
  case hash(Register, count: UInt32, modulus: UInt32, seed: UInt32, into: Register)
  case add(Register, toSet: String)

  /// libnftnl's form, which the caller comes to own.
  func make() -> OpaquePointer {
    let name: String
    switch self {
    case .loadMeta, .setMark: name = "meta"
    case .load, .write: name = "payload"
    case .bitwise: name = "bitwise"
    case .equal, .isGreater: name = "cmp"
    case .toNetworkOrder: name = "byteorder"
    case .lookUp, .isNotIn: name = "lookup"
    case .immediate, .verdict: name = "immediate"
    case .hash: name = "hash"
    case .add: name = "dynset"
    }
    guard let made = nftnl_expr_alloc(name) else { preconditionFailure("libnftnl: no expression \(name)") }
    fill(made)
    return made
  }

  private func fill(_ made: OpaquePointer) {
    func u32(_ attribute: Int, _ value: UInt32) { nftnl_expr_set_u32(made, UInt16(attribute), value) }
    func data(_ attribute: Int, _ bytes: [UInt8]) {
      nftnl_expr_set(made, UInt16(attribute), bytes, UInt32(bytes.count))
    }
    func text(_ attribute: Int, _ text: String) { nftnl_expr_set_str(made, UInt16(attribute), text) }

    switch self {
    case .loadMeta(let meta, let register):
      u32(NFTNL_EXPR_META_KEY, meta.key)
      u32(NFTNL_EXPR_META_DREG, register.number)
    case .setMark(let register):
      u32(NFTNL_EXPR_META_KEY, Meta.mark.key)
      u32(NFTNL_EXPR_META_SREG, register.number)
    case .load(let header, let offset, let count, let register):
      u32(NFTNL_EXPR_PAYLOAD_DREG, register.number)
      u32(NFTNL_EXPR_PAYLOAD_BASE, header.base)
      u32(NFTNL_EXPR_PAYLOAD_OFFSET, offset)
      u32(NFTNL_EXPR_PAYLOAD_LEN, count)
    case .write(let register, let offset, let count, let updatesIPv4Checksum):
      u32(NFTNL_EXPR_PAYLOAD_SREG, register.number)
      u32(NFTNL_EXPR_PAYLOAD_BASE, Header.network.base)
      u32(NFTNL_EXPR_PAYLOAD_OFFSET, offset)
      u32(NFTNL_EXPR_PAYLOAD_LEN, count)
      if updatesIPv4Checksum {
        u32(NFTNL_EXPR_PAYLOAD_CSUM_TYPE, UInt32(NFT_PAYLOAD_CSUM_INET.rawValue))
        // RFC 791 §3.1: the header's checksum is its bytes 10 and 11.
        u32(NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, 10)
      }
    case .bitwise(let register, let mask, let xor):
      u32(NFTNL_EXPR_BITWISE_SREG, register.number)
      u32(NFTNL_EXPR_BITWISE_DREG, register.number)
      u32(NFTNL_EXPR_BITWISE_LEN, UInt32(mask.count))
      data(NFTNL_EXPR_BITWISE_MASK, mask)
      data(NFTNL_EXPR_BITWISE_XOR, xor)
    case .equal(let register, let bytes):
      u32(NFTNL_EXPR_CMP_SREG, register.number)
      u32(NFTNL_EXPR_CMP_OP, UInt32(NFT_CMP_EQ.rawValue))
      data(NFTNL_EXPR_CMP_DATA, bytes)
    case .isGreater(let register, let bytes):
      u32(NFTNL_EXPR_CMP_SREG, register.number)
      u32(NFTNL_EXPR_CMP_OP, UInt32(NFT_CMP_GT.rawValue))
      data(NFTNL_EXPR_CMP_DATA, bytes)
    case .toNetworkOrder(let register):
      u32(NFTNL_EXPR_BYTEORDER_SREG, register.number)
      u32(NFTNL_EXPR_BYTEORDER_DREG, register.number)
      u32(NFTNL_EXPR_BYTEORDER_OP, UInt32(NFT_BYTEORDER_HTON.rawValue))
      u32(NFTNL_EXPR_BYTEORDER_LEN, 8)
      u32(NFTNL_EXPR_BYTEORDER_SIZE, 8)
    case .lookUp(let register, let set, let destination):
      u32(NFTNL_EXPR_LOOKUP_SREG, register.number)
      text(NFTNL_EXPR_LOOKUP_SET, set)
      if let destination { u32(NFTNL_EXPR_LOOKUP_DREG, destination.number) }
    case .isNotIn(let register, let set):
      u32(NFTNL_EXPR_LOOKUP_SREG, register.number)
      text(NFTNL_EXPR_LOOKUP_SET, set)
      u32(NFTNL_EXPR_LOOKUP_FLAGS, UInt32(NFT_LOOKUP_F_INV.rawValue))
    case .immediate(let register, let bytes):
      u32(NFTNL_EXPR_IMM_DREG, register.number)
      data(NFTNL_EXPR_IMM_DATA, bytes)
    case .verdict(let verdict):
      u32(NFTNL_EXPR_IMM_DREG, Register.verdict.number)
      u32(NFTNL_EXPR_IMM_VERDICT, UInt32(bitPattern: verdict.code))
      if let chain = verdict.chain { text(NFTNL_EXPR_IMM_CHAIN, chain) }
    case .hash(let register, let count, let modulus, let seed, let destination):
      u32(NFTNL_EXPR_HASH_SREG, register.number)
      u32(NFTNL_EXPR_HASH_DREG, destination.number)
      u32(NFTNL_EXPR_HASH_LEN, count)
      u32(NFTNL_EXPR_HASH_MODULUS, modulus)
      u32(NFTNL_EXPR_HASH_SEED, seed)
      u32(NFTNL_EXPR_HASH_TYPE, UInt32(NFT_HASH_JENKINS.rawValue))
    case .add(let register, let set):
      u32(NFTNL_EXPR_DYNSET_SREG_KEY, register.number)
      u32(NFTNL_EXPR_DYNSET_OP, UInt32(NFT_DYNSET_OP_ADD.rawValue))
      text(NFTNL_EXPR_DYNSET_SET_NAME, set)
    }
  }
}
