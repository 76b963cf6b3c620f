import Flow
import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks a running daemon, one request a connection.
struct APIClient {
  let address: APIAddress
  let token: String?

  struct Answer: Sendable {
    let status: Int
    let body: String
  }

  func ask(_ method: HTTPMethod, _ path: String, body: String = "") throws(APIError) -> Answer {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let answer = group.next().makePromise(of: Answer.self)
    var head = HTTPRequestHead(version: .http1_1, method: method, uri: path)
    head.headers.add(name: "Host", value: "localhost")
    head.headers.add(name: "Connection", value: "close")
    head.headers.add(name: "Content-Length", value: "\(body.utf8.count)")
    if let token { head.headers.add(name: "Authorization", value: "Bearer \(token)") }
    let request = (head, ByteBuffer(string: body))
    do {
      let bootstrap = ClientBootstrap(group: group).connectTimeout(.seconds(5)).channelInitializer {
        channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHTTPClientHandlers()
          try pipeline.addHandler(Exchange(request, answer))
        }
      }
      switch address {
      case .unix(let path): _ = try bootstrap.connect(unixDomainSocketPath: path).wait()
      case .tcp(let end):
        let socket = try SocketAddress(ipAddress: "\(end.address)", port: Int(end.port))
        _ = try bootstrap.connect(to: socket).wait()
      }
      let received = try answer.futureResult.wait()
      group.shutdownGracefully { _ in }
      return received
    } catch {
      // Before the loop ends, which takes no more work then.
      answer.fail(error)
      group.shutdownGracefully { _ in }
      throw APIError(asking: address, error)
    }
  }

  private final class Exchange: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let request: (HTTPRequestHead, ByteBuffer)
    private let answer: EventLoopPromise<Answer>
    private var status = 0
    private var body = ByteBuffer()
    private var isAnswered = false

    init(_ request: (HTTPRequestHead, ByteBuffer), _ answer: EventLoopPromise<Answer>) {
      self.request = request
      self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
      context.write(wrapOutboundOut(.head(request.0)), promise: nil)
      context.write(wrapOutboundOut(.body(.byteBuffer(request.1))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): status = Int(head.status.code)
      case .body(var part): body.writeBuffer(&part)
      case .end:
        isAnswered = true
        answer.succeed(Answer(status: status, body: String(buffer: body)))
        context.close(promise: nil)
      }
    }

    func channelInactive(context: ChannelHandlerContext) {
      if !isAnswered { answer.fail(ChannelError.eof) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      if !isAnswered {
        isAnswered = true
        answer.fail(error)
      }
      context.close(promise: nil)
    }
  }
}

extension APIError {
  init(asking address: APIAddress, _ error: any Error) {
    self.init(
      address: "\(address)", reason: "no answer, is the daemon running? (\(APIError.explain(error)))",
      isServing: false)
  }
}
