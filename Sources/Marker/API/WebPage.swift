import NIOHTTP1

/// The status page, for people with a browser. Its files are in `Sources/Marker/Web`.
enum WebPage {
  /// Nothing but this page's own files and this API; no page of others may show it in a frame.
  private static let policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

  static let page = response(
    PackageResources.status_html, "text/html; charset=utf-8", [("Content-Security-Policy", policy)])

  private static let script = response(PackageResources.status_js, "text/javascript; charset=utf-8")
  private static let style = response(PackageResources.status_css, "text/css; charset=utf-8")

  /// What the page asks for; nil for any other path.
  static func file(_ path: String) -> APIResponse? {
    switch path {
    case "/status.js": script
    case "/status.css": style
    default: nil
    }
  }

  private static func response(
    _ bytes: [UInt8], _ type: String, _ headers: [(String, String)] = []
  ) -> APIResponse {
    APIResponse(
      .ok, String(decoding: bytes, as: UTF8.self), type: type,
      headers: headers + [
        ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Vary", "Accept"),
        ("Cache-Control", "no-cache"),
      ])
  }
}
