import NIOCore
import NIOHTTP1

/// Takes a connection's requests, one after the other, and writes what is answered.
final class APIHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  /// The largest body, bytes: some 20,000 flows.
  static let bodyLimit = 4 << 20

  private let routes: APIRoutes
  private let access: APIAccess
  private let client: APIAccess.Client
  private var head: HTTPRequestHead?
  private var body: ByteBuffer?
  /// The request is answered already; the rest of it is passed over.
  private var isRefused = false

  init(_ routes: APIRoutes, _ access: APIAccess, _ client: APIAccess.Client) {
    self.routes = routes
    self.access = access
    self.client = client
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): begin(head, context)
    case .body(var part):
      guard !isRefused else { return }
      if (body?.readableBytes ?? 0) + part.readableBytes > Self.bodyLimit { return refuseBody(context) }
      if body == nil { body = part } else { body?.writeBuffer(&part) }
    case .end: finish(context)
    }
  }

  private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    self.head = head
    body = nil
    isRefused = false
    if let refusal = access.refusal(of: client, head) {
      isRefused = true
      return write(refusal, head.isKeepAlive, context)
    }
    let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    if length > Self.bodyLimit { return refuseBody(context) }
    if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
      context.writeAndFlush(
        wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: .continue))), promise: nil)
    }
  }

  /// What comes after would have to be read to no end, so the connection is closed.
  private func refuseBody(_ context: ChannelHandlerContext) {
    isRefused = true
    body = nil
    write(.error(.payloadTooLarge, "a body has at most \(Self.bodyLimit) bytes"), false, context)
  }

  private func finish(_ context: ChannelHandlerContext) {
    guard !isRefused, let head else { return }
    let request = APIRequest(
      head.method, head.uri, body ?? ByteBuffer(), accept: head.headers["accept"].joined(separator: ","))
    body = nil
    let loop = context.eventLoop
    let bound = NIOLoopBound((self, context), eventLoop: loop)
    let keepsAlive = head.isKeepAlive
    routes.handle(request) { response in
      if loop.inEventLoop {
        bound.value.0.write(response(), keepsAlive, bound.value.1)
      } else {
        loop.execute { bound.value.0.write(response(), keepsAlive, bound.value.1) }
      }
    }
  }

  private func write(_ response: APIResponse, _ keepsAlive: Bool, _ context: ChannelHandlerContext) {
    routes.vitals.requests.note(status: response.status.code)
    guard context.channel.isActive else { return }
    var head = HTTPResponseHead(version: .http1_1, status: response.status)
    head.headers.add(name: "Content-Type", value: response.contentType)
    head.headers.add(name: "Content-Length", value: "\(response.body.utf8.count)")
    if !keepsAlive { head.headers.add(name: "Connection", value: "close") }
    for (name, value) in response.headers { head.headers.add(name: name, value: value) }
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: response.body)))), promise: nil)
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    let done = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    if !keepsAlive { done.whenComplete { _ in bound.value.close(promise: nil) } }
  }

  /// A client that is silent too long makes room for others.
  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent {
      context.close(promise: nil)
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  /// NIO has answered what is no HTTP; a connection that broke needs no answer.
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
